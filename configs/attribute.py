"""Explains a network: which voxels and which sections its answer for the section in the middle comes from.

    python -m emjax.main --config configs/attribute.py --config.checkpoint=runs/finetune \
        --config.input='a.h5:raw[0:20]' --config.labels='a.h5:mito[0:20]'

writes `report.html` to the workdir (default `runs/attribute`), with the shares of the sections, whether their order
matters, and maps as pictures; `results.json` has the numbers. docs/attribution.md says what each of them means.
"""

from emjax.config import Config
from emjax.volume_config import volume_config


def get_config() -> Config:
    """Returns the configuration."""
    c = volume_config("attribute")
    c.checkpoint = ""  # run folder of any network, one of its steps, or an export
    c.input = ""  # address of the images
    c.labels = ""  # address of labels, of the same size; needed for the regions 'foreground' and 'background'
    # Of which voxels of the middle section the answer is explained: 'foreground' (labels above 0), 'background', 'all'.
    c.region = "foreground"
    c.channel = ""  # channel or class of the answer, by its name or number; '': the first
    # Any of gradient, input_x_gradient, integrated_gradients, smooth_gradient, section_occlusion, patch_occlusion,
    # guided_backpropagation, grad_cam; separated by commas.
    c.methods = "gradient,input_x_gradient,integrated_gradients,smooth_gradient,section_occlusion"
    c.sections = 3  # sections around the middle one whose shares are measured; odd
    c.tile_size = ()  # y, x pixels of a tile; (): as in training
    c.images = 16  # largest number of tiles; they are drawn from the whole box
    c.least_voxels = 50  # tiles with fewer voxels of the region are left out
    c.pictures = 3  # tiles that are drawn
    c.ig_steps = 50  # steps of integrated gradients
    c.smooth_copies = 25  # noisy copies of SmoothGrad
    c.smooth_sigma = 0.1  # of their noise, as a part of the range of grey values
    c.patch = 16  # side of what patch occlusion covers, pixels
    c.patch_stride = 8  # pixels between such patches
    c.seed = 0  # of the tiles and the noise
    return c.lock()
