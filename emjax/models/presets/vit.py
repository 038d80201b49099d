"""Sizes of the 3D vision transformer, `emjax.models.vit`."""

from __future__ import annotations

from emjax.config import Config


def base() -> Config:
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
    m.norm = (
        "group"  # of the decoder; or 'running', 'calibrated', 'layer': emjax.models.normalization
    )
    m.remat = False  # recompute blocks in the backward pass, to save memory
    return m


def large() -> Config:
    """Returns a 3D ViT encoder of large size with a convolutional decoder, for many accelerators: 305 M parameters."""
    m = base()
    m.width = 1024
    m.depth = 24
    m.heads = 16
    m.mlp_width = 4096
    m.taps = (5, 11, 17)
    m.dtype = "bfloat16"
    m.remat = True
    return m
