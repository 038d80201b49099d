r"""Scores a segmentation against labels.

    python -m emjax.main --config configs/evaluate.py --config.segmentation=segmentation.zarr \
        --config.labels=labels.zarr

reads both block by block, so that volumes larger than memory can be scored, and writes `results.json` and pictures to
`--workdir` (default `runs/evaluate`). Scores do not depend on blocks, workers or restarts; docs/objects.md says how
each is computed from blocks. By default, background of the labels is not scored by VOI and Rand, and voxels that the
segmentation leaves 0 count as one segment; what was left out is printed with the scores.

Masks of organelles are scored with `--config.kind=semantic`, synaptic clefts with `--config.kind=clefts`, and neurons
without labels by their skeletons: `--config.skeletons=neurons.swc`. Tracings are scored against true trees:

    python -m emjax.main --config configs/evaluate.py --config.kind=trees --config.segmentation=traced.swc \
        --config.labels=true.swc --config.skeleton_unit=voxel --config.image=neuron.tif

A score that cannot be computed is absent.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("evaluate")
    c.segmentation = ""  # address of the ids to be scored
    c.labels = ""  # address of the true ids, of the same size; may be empty if there are skeletons
    c.image = ""  # address of the image, for the pictures; '': pictures show colours only
    # True: a segmentation of other voxels than the labels is compared at those of the labels, each with the id that its
    # centre lies in; so are mask and image. False: it is refused.
    c.resample = False
    # 'instances': VOI, Rand, average precision; 'semantic': overlap of foreground and classes; 'clefts': distances;
    # 'trees': segmentation and labels are SWC files, or folders of files with the same names.
    c.kind = "instances"
    c.background_ids = (0,)  # ids of the labels that are background; 0 is, unless it is ignored
    c.ignore_ids = ()  # ids of the labels of which nothing is known; negative ids and the largest uint64 always are
    c.mask = ""  # address of a mask of the same size; only voxels where it is not 0 are scored
    c.score_background = (
        False  # True: VOI and Rand also score the labels' background, as one object
    )
    c.boundary_tolerance = (
        2.0  # tolerated distance of a boundary, in units of a voxel's shortest side
    )
    c.cremi_border_nm = 25.0  # CREMI's score leaves out voxels within this many nm of a border of the labels; 0: none
    c.skeletons = (
        ""  # SWC file with a tree for each neuron; or folder or pattern with a file for each
    )
    c.skeleton_unit = (
        "nm"  # their unit: 'nm', 'um', 'voxel' (of the volume), or its length in nm, such as 8
    )
    c.skeleton_merge_points = 1  # points that a neuron needs in a segment to count as merged there
    c.tree_step = (
        1.0  # with kind=trees: distance of points on both trees, in voxels of the shortest side
    )
    c.tree_different = (
        2.0  # distance from which on a point counts as different, for dsa and pds, the same voxels
    )
    c.tree_tolerance = (
        4.0  # largest distance of what is right, for tree_f1 and length_recall, the same voxels
    )
    return c.lock()
