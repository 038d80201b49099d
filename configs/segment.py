"""Segments a prediction into instances.

    python -m emjax.main --config configs/segment.py --config.input=prediction.zarr --config.output=segmentation.zarr

A volume of any size is segmented in four steps: fragments in cells on a fixed lattice, the graph of those that touch,
its partition, and the final ids; see docs/segmentation.md. The result does not depend on blocks, workers or restarts.

The method follows from the channels of the prediction unless it is named; each method has settings with defaults that
suit the presets of `configs/finetune.py`. `configs/tune.py` chooses settings on a labelled volume and writes them for
`settings`.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("segment")
    c.input = ""  # address of the prediction, as configs/predict.py writes it
    c.output = ""  # path of the OME-Zarr to write: uint64 ids from 1, 0 is background
    # '': 'agglomerate' if there are affinities, else the first whose channels the prediction has out of
    # 'distance' (BCD), 'contour' (BC), 'flow', 'energy', 'polarity' (pairs of ids), 'agglomerate' (of a membrane),
    # 'mutex', 'multicut', 'affinity_components', 'components', or 'classes' (of each voxel); docs/segmentation.md says
    # what each does.
    c.method = ""
    c.settings = ""  # of the method: NAME=VALUE&NAME=VALUE; or the run folder of a `tune`, for its method and settings
    # z, y, x voxels of the cells in which fragments are made, whatever the blocks: the result depends on this, not on
    # block_size; (): one cell for a volume of up to 32 million voxels, else about 16 million each. `halo` is what a
    # cell sees around it; (): 32 voxels of the finest axis, as long in nm along the others.
    c.fragment_size = ()
    # Folder of fragments and region graph; '': WORKDIR/graph. The folder of another run saves the first two passes:
    # useful to try another threshold, linkage or beta.
    c.graph = ""
    # Voxel size of the output where the images of the prediction were resampled: 'trained', that of the prediction;
    # 'native', that of the images: each voxel gets the id that its centre lies in.
    c.at = "trained"
    c.of = ""  # name of what is segmented, where the prediction has channels of several, as in mito.foreground
    # The channels of the input, if it does not say: names separated by ',', an affinity with its offset, as in
    # 'affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1,foreground'.
    c.channels = ""
    return c.lock()
