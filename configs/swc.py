r"""Checks and measures skeletons in SWC files; mends, prunes, smooths, resamples and converts them.

    python -m emjax.main --config configs/swc.py --config.input=tree.swc

says what is wrong with the file, line by line, and how large the tree is. With an output it also writes the tree,

    python -m emjax.main --config configs/swc.py --config.input=tree.swc --config.output=mended.swc \
        --config.repair=true --config.unit=voxel --config.to_unit=um --config.voxel_nm=1000,300,300

parents before children; what is done to it follows in the order of the fields below. See docs/tracing.md.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "swc"
    c.input = ""  # SWC file, or a folder or pattern of SWC files
    c.output = ""  # SWC file to write, or a folder where the input is several files; '': only check
    c.unit = "voxel"  # unit of the input: 'voxel', 'nm', 'um', or its length in nm, such as 8
    c.to_unit = ""  # unit of the output; '': that of the input
    c.voxel_nm = ()  # z, y, x nm of a voxel, to convert between voxels and lengths
    # True: mend what can be mended: missing parents and rings get a root, equal points go, radii of 0 become the usual.
    c.repair = False
    c.join = 0.0  # joins trees that are not farther apart, in the input's unit
    c.prune = 0.0  # leaves out branches with a tip that are shorter, in the input's unit
    c.smooth = (
        1  # each point becomes the mean of so many along its branch, an odd number; 1: as it is
    )
    c.resample = 0.0  # distance between points along a branch, in the input's unit; 0: as they are
    c.overwrite = False  # True: replace files that exist
    return c.lock()
