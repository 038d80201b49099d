r"""Traces neurites: makes trees in SWC files of an image, a prediction or a segmentation.

    python -m emjax.main --config configs/trace.py --config.input=neuron.tif --config.output=neuron.swc

traces the bright neurites of a stack; a prediction (`prediction.zarr?channel=0`) likewise. The objects of a
segmentation become a file each, and a folder of skeletons that neuroglancer shows:

    python -m emjax.main --config configs/trace.py --config.input=segmentation.zarr --config.ids=17,42 \
        --config.output=skeletons

`results.json` and a picture of the trees over the image go to `--workdir` (default `runs/trace`). A stack, or the box
of an object, is traced in memory. See docs/tracing.md.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "trace"
    c.input = (
        ""  # address of an image, a prediction (?channel=N) or a mask; with ids, of a segmentation
    )
    c.output = ""  # SWC file to write; with ids, a folder
    c.box = ""  # part of the input in voxels, z0:z1,y0:y1,x0:x1; '': all
    # 'teasar': middle lines of what is above the threshold; 'marching': fast marching from a root and back, which also
    # looks at how bright voxels are, and passes gaps; '': 'marching' for images, 'teasar' for everything else
    c.method = ""
    c.threshold = ""  # value above which a voxel is neurite; '': 0.5 of a prediction or mask, Otsu's of an image
    c.root = (
        ""  # z,y,x voxel of the root; '': the middle of a cell body if there is one, else an end
    )
    c.min_voxels = 50  # pieces of fewer voxels are left out
    # Lengths are in voxels of the shortest side, here and below. Largest gap in a neurite.
    c.gap = 10.0
    c.prune = 5.0  # branches with a tip that are shorter are left out
    c.smooth = (
        5  # each point becomes the mean of so many along its branch, an odd number; 1: as it is
    )
    c.step = 0.0  # distance between points; 0: about one
    # What is nearer to a path than scale * radius + constant needs no path of its own; larger values: fewer twigs
    c.scale = 1.5
    c.constant = 2.0  # voxels
    c.coverage = 0.98  # share of the voxels of a neurite after which 'marching' is done with it
    c.confidence = 0.5  # least share of a branch that is neurite, not gap; of 'marching'
    c.trees = 0  # number of trees that are kept, the longest; 0: all
    c.unit = ""  # of the SWC: 'voxel', 'um', 'nm' or nm; '': 'um' if the voxel size is known, else 'voxel'
    c.ids = ""  # objects of a segmentation: 17,42, or 'all'; '': the input is no segmentation
    # Table that configs/objects.py wrote of the segmentation: says where objects are, so that only they are read, and
    # is written again to WORKDIR/objects.parquet with the length and radius of each; '': the whole input is read
    c.objects = ""
    c.image = ""  # address of the image for the picture; '': the input
    c.overwrite = False  # True: replace files that exist
    c.allow_incomplete = False  # True: read volumes that emjax has not finished
    return c.lock()
