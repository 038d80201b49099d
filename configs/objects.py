r"""Makes tables of the objects of a segmentation: size, place, surface, and which objects touch.

    python -m emjax.main --config configs/objects.py --config.input=segmentation.zarr

reads the volume block by block and writes `objects.parquet` and `contacts.parquet` to `--workdir` (default
`runs/objects`), which pandas, DuckDB, Spark and R open; docs/objects.md lists their columns. The tables do not depend
on blocks, workers or restarts. Any labels can be read, also those of other tools.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("objects")
    c.input = (
        ""  # address of the ids, in any format; ?voxel_nm=Z,Y,X if the file lacks its voxel size
    )
    c.image = (
        ""  # address of an image of the same size, integers: adds the mean intensity of each object
    )
    c.ignore_ids = ()  # ids that are no object; 0, negative ids and the largest uint64 never are
    return c.lock()
