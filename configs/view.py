"""Shows volumes as layers of a neuroglancer page, or draws sections of them as a picture.

    python -m emjax.main --config configs/view.py --config.volumes='fib25.h5:raw; prediction.zarr; segmentation.zarr'

serves a page on this machine and prints its link; Ctrl-C ends it. Without a browser,

    python -m emjax.main --config configs/view.py --config.volumes='fib25.h5:raw|segmentation.zarr' \
        --config.png=overlay.png

draws sections instead. Only the parts that are looked at are read. See docs/view.md.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "view"
    # Addresses separated by ';', labels after '|'; ?kind=image, labels or affinities where the kind is not obvious.
    c.volumes = ""
    c.allow_incomplete = (
        False  # True: also show volumes that emjax has not finished; missing blocks are black
    )
    c.box = ""  # part to show, in voxels of the first volume, z0:z1,y0:y1,x0:x1; '': all
    c.png = ""  # picture to write instead of serving a page; an existing file is replaced
    c.sections = ""  # sections of the picture, in voxels of the first volume: 'z=10,20', or y or x; '': three
    c.skeletons = ""  # SWC file whose trees are shown on the page
    c.skeleton_unit = (
        "nm"  # its unit: 'nm', 'um', 'voxel' (of the first volume), or its length in nm, such as 8
    )
    c.serve = True  # False: only open the volumes and describe them
    c.bind = "127.0.0.1"  # address at which the page is served; '0.0.0.0': also to other machines
    c.port = 0  # 0: any free port
    c.seconds = 0.0  # seconds until the page ends by itself; 0: at Ctrl-C
    return c.lock()
