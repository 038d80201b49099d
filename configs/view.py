"""Volumes as layers of a neuroglancer page, or sections of them as a picture.

    python -m emjax.main --config configs/view.py --config.volumes='fib25.h5:raw; prediction.zarr; segmentation.zarr'

serves a page on this machine and prints its link; Ctrl-C ends it. Where there is no browser,

    python -m emjax.main --config configs/view.py --config.volumes='fib25.h5:raw|segmentation.zarr' \
        --config.png=overlay.png

draws sections instead. Nothing is read but what is looked at. See docs/view.md.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "view"
    # Addresses separated by ';', labels after '|'; ?kind=image, labels or affinities where that is not plain.
    c.volumes = ""
    c.allow_incomplete = (
        False  # True: also show volumes that emjax has not finished; what is missing is black
    )
    c.box = ""  # the part that is shown, in voxels of the first volume, z0:z1,y0:y1,x0:x1; '': all
    c.png = ""  # picture to write instead of serving a page; one that is there is replaced
    c.sections = (
        ""  # of the picture, in voxels of the first volume: 'z=10,20', or y or x; '': three
    )
    c.skeletons = ""  # SWC file whose trees are shown on the page
    c.skeleton_unit_nm = 1.0  # nm in one unit of it; 1000 where it is micrometres
    c.serve = True  # False: only open the volumes and say what they are
    c.bind = "127.0.0.1"  # address that the page is served at; '0.0.0.0': to other machines, too
    c.port = 0  # 0: any that is free
    c.seconds = 0.0  # after which the page ends by itself; 0: at Ctrl-C
    return c.lock()
