"""Networks by name, as the group `model` of a configuration: pretraining and finetuning must make the same one.

Nothing here imports jax: a config file is read before a mistake in it is answered.
"""

from __future__ import annotations

from emjax.config import Config


def small_unet() -> Config:
    """Returns a U-Net that two CPU cores can train: 0.3 M parameters."""
    m = _unet()
    m.widths = (8, 16, 32, 48)
    m.kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    return m


def paper_unet() -> Config:
    """Returns the residual symmetric U-Net of arXiv:2308.09917: 1.5 M parameters."""
    m = _unet()
    m.widths = (28, 36, 48, 64, 80)
    m.kernels = ((3, 3, 3),)
    return m


def wide_unet() -> Config:
    """Returns the paper's with multiples of 16, because tensor cores pad 28 and 36 channels to 32 and 48."""
    m = paper_unet()
    m.widths = (32, 48, 64, 80, 96)
    m.dtype = "bfloat16"
    return m


def large_unet() -> Config:
    """Returns the paper's with twice to three times the channels, for many accelerators: 12.4 M parameters."""
    m = paper_unet()
    m.widths = (64, 96, 128, 192, 256)
    m.dtype = "bfloat16"
    m.remat = True
    return m


def base_vit() -> Config:
    """Returns a 3D ViT encoder of base size with a convolutional decoder."""
    m = Config()
    m.name = "vit"
    m.dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    m.patch_size = (4, 16, 16)
    m.width = 768
    m.depth = 12
    m.heads = 8
    m.head_width = 64
    m.mlp_width = 2048
    m.positions = "learned"  # or 'sincos'
    m.taps = (3, 6, 9)  # blocks whose states are the decoder's skips in finetuning
    m.decoder_widths = (128, 64, 32, 16)
    m.skips = "none"  # pretraining has none; finetuning adds them
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m


def large_vit() -> Config:
    """Returns the same of large size, for many accelerators: 305 M parameters."""
    m = base_vit()
    m.width = 1024
    m.depth = 24
    m.heads = 16
    m.mlp_width = 4096
    m.taps = (5, 11, 17)
    m.dtype = "bfloat16"
    m.remat = True
    return m


def _unet() -> Config:
    m = Config()
    m.name = "unet"
    m.dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    m.widths = ()  # channels of each level, fine to coarse
    m.kernels = ()  # of each level, or one for all
    m.strides = ()  # z, y, x of each pooling; (): z only once the voxels are about isotropic
    m.skips = "none"  # pretraining has none; finetuning adds them
    m.upsampling = "depth_to_space"  # or 'resize'
    m.groups = 4  # most groups of a group normalisation
    m.activation = "elu"
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m
