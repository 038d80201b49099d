"""Presets of networks that have published weights.

Most are networks for photographs, used as the encoder of `emjax.models.encoder_decoder`; one, `emjax.models.rsunet`,
was trained on EM. Each fits the published weights of its name (`configs/import_weights.py`), and can also be
trained from scratch.
"""

from __future__ import annotations

from emjax.config import Config


def resnet18() -> Config:
    """Returns a ResNet-18: 11.2 M parameters in the encoder."""
    m = _shared("resnet")
    m.variant = "resnet18"
    m.norm = ""  # 'group' (without weights), 'affine' (weights of photographs); '': as in init_from
    return m


def resnet50() -> Config:
    """Returns a ResNet-50: 23.5 M parameters in the encoder."""
    m = resnet18()
    m.variant = "resnet50"
    return m


def efficientnet_lite0() -> Config:
    """Returns an EfficientNet-Lite0: 3.0 M parameters in the encoder."""
    m = _shared("efficientnet_lite0")
    m.input_mean = 127 / 255
    m.input_deviation = 128 / 255
    m.norm = ""  # 'group' (without weights), 'affine' (weights of photographs); '': as in init_from
    return m


def convnext_tiny() -> Config:
    """Returns a ConvNeXt-T: 27.8 M parameters in the encoder."""
    m = _shared("convnext")
    m.depths = (3, 3, 9, 3)  # blocks of each stage
    m.widths = (96, 192, 384, 768)  # channels of each stage
    return m


def vit_small() -> Config:
    """Returns the ViT-S/16 of DINO, MAE and timm: 21.7 M parameters in the encoder."""
    m = _shared("image_vit")
    m.decoder_widths = (16, 32, 64, 128)
    m.patch = 16  # pixels of a token's side
    m.section_stride = 1  # sections between layers of tokens: 1, or as many as slices
    m.width = 384  # dimensions of a token
    m.depth = 12  # number of transformer blocks
    m.heads = 6  # attention heads
    m.mlp_width = 1536  # hidden width of the MLPs
    m.registers = 0  # register tokens, which have no position
    m.layer_scale = False  # whether a factor scales what a block adds (DINOv2)
    m.position_grid = 14  # rows and columns of learned positions
    m.resampling = "offset"  # of positions: also 'exact', 'antialias'
    m.attend = "section"  # or 'volume': tokens attend to those of all sections
    m.section_positions = 16  # learned positions along z, for 'volume'
    m.taps = (2, 5, 8)  # blocks whose states are the decoder's skips
    return m


def vit_base() -> Config:
    """Returns the ViT-B/16 of DINO, MAE and timm: 85.8 M parameters in the encoder."""
    m = vit_small()
    m.width = 768
    m.heads = 12
    m.mlp_width = 3072
    return m


def vit_large() -> Config:
    """Returns the ViT-L/16 of MAE and timm: 303 M parameters in the encoder."""
    m = vit_small()
    m.width = 1024
    m.depth = 24
    m.heads = 16
    m.mlp_width = 4096
    m.taps = (5, 11, 17)
    m.remat = True
    return m


def dinov2_small() -> Config:
    """Returns the ViT-S/14 of DINOv2: 22.1 M parameters in the encoder; crops are multiples of 14."""
    m = vit_small()
    m.decoder_widths = (16, 64)
    m.patch = 14
    m.layer_scale = True
    m.position_grid = 37
    m.taps = (5,)
    return m


def rsunet() -> Config:
    """Returns the U-Net for synaptic clefts: 0.4 M parameters, all of which have published weights."""
    m = Config()
    m.name = "rsunet"
    m.dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    m.widths = (28, 36, 48)  # channels of each level, fine to coarse
    m.kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3))  # z, y, x of each level
    m.skips = "none"  # pretraining has none; finetuning adds them
    m.norm = ""  # 'group' (without weights), 'affine' (published weights); '': as in init_from
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m


def _shared(name: str) -> Config:
    m = Config()
    m.name = name  # the network; choose it by a preset
    m.dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    # grey value in [0, 1] that becomes 0; one for all sections, since one for each colour would tell sections apart
    m.input_mean = 0.449
    m.input_deviation = 0.226  # difference of grey values that becomes 1; one for all sections, too
    m.slices = 1  # sections that the first kernel sees, odd
    m.stem_fill = "average"  # how weights of photographs fill these sections: emjax.weights.inflate
    m.stem_scale = "none"  # for uniform fills: also 'global', 'per_filter'
    m.kernel_depth = 1  # sections that later kernels see, odd
    m.kernel_fill = "center"  # how 2D weights fill these sections: or 'average'
    m.decoder_widths = (16, 32, 64, 96, 128)  # channels, fine to coarse
    m.decoder_kernel = (1, 3, 3)  # z, y, x
    m.skips = "none"  # pretraining has none; finetuning adds them
    m.upsampling = "depth_to_space"  # or 'resize'
    m.decoder_norm = "group"  # or 'running', 'calibrated', 'layer': emjax.models.normalization
    m.groups = 4  # most groups of a normalization in the decoder
    m.activation = "elu"  # of decoder and head
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m
