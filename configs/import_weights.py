r"""Published weights of photographs, as a run that training starts from.

    python -m emjax.main --config configs/import_weights.py --config.source=dinov2_small.safetensors \
        --workdir runs/dinov2_small
    python -m emjax.main --config configs/finetune.py:dinov2_small --config.init_from=runs/dinov2_small

reads safetensors, torch checkpoints and .npz without torch and without running anything that they say, finds out by the
names which network they are of, and prints what became of each array: ResNet-18 and 50, EfficientNet-Lite0, ConvNeXt-T,
and ViT-S, B and L of DINO, DINOv2 (with registers too), MAE and timm. Decoder and head begin anew. Seconds.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "import_weights"
    c.source = ""  # file of weights, or folder with a model.safetensors
    c.family = ""  # how it is laid out, such as 'vit', 'resnet'; '': found by its names
    c.seed = 0  # of decoder and head
    c.overwrite = False  # True: replace a run of another configuration in the workdir

    c.model = Config()  # fields of the network that do not follow from the file
    c.model.slices = 1  # sections that the first kernel sees, odd
    c.model.stem_fill = "average"  # how the colours are laid onto them; docs/weights.md
    c.model.stem_scale = "none"  # of the uniform fills: also 'global', 'per_filter'
    c.model.kernel_depth = 1  # sections that later kernels see, odd
    c.model.kernel_fill = "center"  # how 2D weights are laid onto those: or 'average'
    c.model.decoder_widths = ()  # channels, fine to coarse; (): the network's preset
    c.model.decoder_kernel = (1, 3, 3)  # z, y, x
    c.model.section_stride = 1  # of a ViT: sections between layers of tokens, 1 or slices
    c.model.attend = "section"  # of a ViT: or 'volume'
    return c.lock()
