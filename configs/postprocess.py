"""Improves a segmentation, or a prediction before it is segmented, by a chain of operations.

    python -m emjax.main --config configs/postprocess.py --config.input=segmentation.zarr --config.output=better.zarr \
        --config.operations='closing?radius=2; fill; size?min_size=500'

Every operation is done block by block, and the result does not depend on the blocks, on workers or on restarts.
docs/postprocess.md lists the operations and their options.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("postprocess")
    c.input = ""  # address of a segmentation; for `median` of an image or a prediction
    c.output = ""  # path of the OME-Zarr to write: uint64 ids, or the type of the image
    # NAME?key=value&..., one after the other, separated by ';'. Of labels: 'opening', 'closing', 'smoothing', 'fill',
    # 'size', 'largest', 'link'; of images: 'median'.
    c.operations = "fill"
    return c.lock()
