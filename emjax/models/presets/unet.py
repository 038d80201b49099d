"""Sizes of the residual symmetric U-Net, `emjax.models.unet`."""

from __future__ import annotations

from emjax.config import Config


def small() -> Config:
    """Returns a U-Net that two CPU cores can train: 0.3 M parameters."""
    m = _unet()
    m.widths = (8, 16, 32, 48)
    m.kernels = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    return m


def paper() -> Config:
    """Returns the residual symmetric U-Net of arXiv:2308.09917: 1.5 M parameters."""
    m = _unet()
    m.widths = (28, 36, 48, 64, 80)
    m.kernels = ((3, 3, 3),)
    return m


def wide() -> Config:
    """Returns the paper's U-Net with multiples of 16 channels, as tensor cores pad 28 and 36 channels to 32 and 48."""
    m = paper()
    m.widths = (32, 48, 64, 80, 96)
    m.dtype = "bfloat16"
    return m


def large() -> Config:
    """Returns the paper's U-Net with two to three times the channels, for many accelerators: 12.4 M parameters."""
    m = paper()
    m.widths = (64, 96, 128, 192, 256)
    m.dtype = "bfloat16"
    m.remat = True
    return m


def _unet() -> Config:
    m = Config()
    m.name = "unet"  # another network has fields of its own, and begins with its own defaults
    m.dtype = "auto"  # float32 on CPU, bfloat16 on accelerators
    m.widths = ()  # channels of each level, fine to coarse
    m.kernels = ()  # of each level, or one for all
    m.strides = ()  # z, y, x of each pooling; (): z only once the voxels are about isotropic
    m.skips = "none"  # pretraining has none; finetuning adds them
    m.upsampling = "depth_to_space"  # or 'resize'
    m.norm = "group"  # or 'running', 'calibrated', 'layer': emjax.models.normalization
    m.groups = 4  # most groups of a group normalization
    m.activation = "elu"  # or 'relu', 'gelu', 'silu', 'leaky_relu'
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m
