r"""Scores a segmentation against labels.

    python -m emjax.main --config configs/evaluate.py --config.segmentation=segmentation.zarr \
        --config.labels=labels.zarr

reads both block by block, so that volumes larger than memory are scored, and writes `results.json` and pictures to
`--workdir` (default `runs/evaluate`). Blocks, workers and restarts change no score; docs/objects.md says how each is
made of blocks. Unless told otherwise, background of the labels is not scored by VOI and Rand,
and what the segmentation leaves 0 counts as one segment; what was left out is printed with the scores.

Masks of organelles are scored with `--config.kind=semantic`, synaptic clefts with `--config.kind=clefts`, and neurons
without labels by their skeletons: `--config.skeletons=neurons.swc`. A number that cannot be computed is absent.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("evaluate")
    c.segmentation = ""  # address of the ids that are judged
    c.labels = ""  # address of the truth, of the same size; may be empty where there are skeletons
    c.image = ""  # address of the images, for the pictures; '': colours alone
    # 'instances': VOI, Rand, average precision; 'semantic': overlap of foreground and of classes; 'clefts': distances.
    c.kind = "instances"
    c.background_ids = (0,)  # ids of the labels that are no object; 0 is none unless it is ignored
    c.ignore_ids = ()  # ids of the labels of which nothing is known; negative ids and the largest uint64 always are
    c.mask = ""  # address of a mask of the same size; only where it is not 0 voxels are scored
    c.score_background = (
        False  # True: VOI and Rand judge the labels' background, too, as one object
    )
    c.boundary_tolerance = 2.0  # a boundary is right within so many of a voxel's shortest sides
    c.cremi_border_nm = (
        25.0  # CREMI's score leaves out voxels within so many nm of a border of the labels; 0: none
    )
    c.skeletons = ""  # SWC file, each tree a neuron; or folder or pattern of files, each a neuron
    c.skeleton_unit_nm = 1.0  # nm in one unit of these; 1000 where they are micrometres
    c.skeleton_merge_points = 1  # points that a neuron needs in a segment to be part of a merger
    return c.lock()
