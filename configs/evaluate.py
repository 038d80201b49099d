r"""Scores a segmentation against labels.

    python -m emjax.main --config configs/evaluate.py --config.segmentation=segmentation.zarr \
        --config.labels=labels.zarr

reads both block by block, so that volumes larger than memory are scored, and writes `results.json` and pictures to
`--workdir` (default `runs/evaluate`). Unless told otherwise, background of the labels is not scored by VOI and Rand,
and what the segmentation leaves 0 counts as one segment; what was left out is printed with the scores.
"""

from ml_collections import ConfigDict

from emjax.volume_config import volume_config


def get_config() -> ConfigDict:
    """Returns the configuration."""
    c = volume_config("evaluate")
    c.segmentation = ""  # address of the ids that are judged
    c.labels = ""  # address of the truth, of the same size
    c.image = ""  # address of the images, for the pictures; '': colours alone
    c.background_ids = (0,)  # ids of the labels that are no object
    c.ignore_ids = ()  # ids of the labels of which nothing is known; negative ids and the largest uint64 always are
    c.mask = ""  # address of a mask of the same size; only where it is not 0 voxels are scored
    c.score_background = (
        False  # True: VOI and Rand judge the labels' background, too, as one object
    )
    return c
