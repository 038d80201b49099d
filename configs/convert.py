"""Copies any volume to a format that viewers and networks read fast.

    python -m emjax.main --config configs/convert.py --config.input=stack.tif?voxel_nm=50,4,4 --config.output=stack.zarr

The suffix of the output names its format: `.zarr` (OME-Zarr 0.5, sharded, with a pyramid), `.precomputed` or a
`precomputed://` before the address (Neuroglancer, sharded, with all scales), `.h5` or `.h5:DATASET` (HDF5, one level),
`.tif` (a TIFF stack with ImageJ's or OME's voxel size), `FOLDER/*.png` or `FOLDER/*.tif` (a picture for each section).
Memory use is bounded by the block size, and a run that was killed continues where it stopped. See docs/convert.md.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("convert")
    c.input = ""  # address of a volume, z, y, x or c, z, y, x; ?voxel_nm=Z,Y,X if the file lacks it
    c.output = (
        ""  # NAME.zarr, NAME.precomputed, NAME.h5[:DATASET], NAME.tif, FOLDER/*.png or FOLDER/*.tif
    )
    # 'image' (levels are means) or 'labels' (levels have the most frequent id); '': by the type: 8 and 16
    # bits and floats are images, other integers are labels
    c.kind = ""
    c.levels = (
        0  # number of pyramid levels, full resolution included; 0: until a level is one chunk
    )
    c.dtype = ""  # type of the output; '': that of the input. Refused if values would be lost
    # LOW,HIGH: grey values that become 0 and the largest value of dtype=uint8 or uint16, values outside are clipped;
    # 'percentiles': the contrast in which emjax's networks see images; '': values are not changed
    c.value_range = ""
    c.chunk = ()  # z, y, x voxels that are compressed together; (): 64^3 or so, as long in nm along each axis
    c.shard = ()  # z, y, x voxels of a shard file; (): 4 x 4 x 4 chunks, fewer if that is more than 128 MiB
    return c.lock()
