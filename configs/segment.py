"""Instance segmentation of a prediction.

    python -m emjax.main --config configs/segment.py --config.input=prediction.zarr --config.output=segmentation.zarr

A volume of any size is segmented in four passes: fragments in cells on a fixed lattice, the graph of those that touch,
its partition, and the final ids; see docs/segmentation.md. The result does not depend on blocks, workers or restarts.

The method follows from the channels of the prediction unless it is named; each has settings with defaults that suit
the presets of `configs/finetune.py`. `configs/tune.py` chooses them on a labelled volume and writes what `settings`
takes.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("segment")
    c.input = ""  # the prediction: an address, as configs/predict.py writes it
    c.output = ""  # OME-Zarr to write, uint64 ids from 1, 0 is background
    # '': 'agglomerate' where there are affinities, else the first that the prediction has the channels for out of
    # 'distance' (BCD), 'contour' (BC), 'agglomerate' (of a membrane), 'mutex', 'multicut', 'affinity_components',
    # 'components'; docs/segmentation.md says what each does.
    c.method = ""
    c.settings = ""  # of the method: NAME=VALUE&NAME=VALUE; or the run folder of a `tune`, for its method and settings
    # z, y, x voxels of the cells in which fragments are made, whatever the blocks: the result depends on it, not on
    # block_size; (): one cell for a volume of up to 32 million voxels, else about 16 million each. `halo` is what a
    # cell sees around it; (): 32 voxels of the finest axis, as long in nm along the others.
    c.fragment_size = ()
    # Folder of fragments and region graph; '': WORKDIR/graph. With that of another run its first two passes are saved:
    # for another threshold, linkage or beta.
    c.graph = ""
    # What the channels are, where the input does not say: names separated by ',', an affinity with its offset, as in
    # 'affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1,foreground'.
    c.channels = ""
    return c.lock()
