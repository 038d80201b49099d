"""A pretraining task small enough to compile in a test, and windows to show it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy import ndimage

from emjax.augment.recipes import window_size
from emjax.command_line import load_config
from emjax.config import plain
from emjax.tasks.build import build_pretrain
from emjax.tasks.pretrain import Pretrain

CROP_SIZE = (4, 32, 32)
VIT = {
    "name": "vit",
    "dtype": "float32",
    "patch_size": (4, 16, 16),
    "width": 16,
    "depth": 2,
    "heads": 2,
    "head_width": 8,
    "mlp_width": 32,
    "positions": "learned",
    "taps": (0,),
    "decoder_widths": (8, 8),
    "decoder_strides": ((2, 4, 4), (2, 4, 4)),
    "skips": "none",
    "remat": False,
}


def small_config(preset: str = "smoke", **overrides: Any) -> dict[str, Any]:
    """Plain values of the smoke preset with a crop of 4x32x32; dotted names with '__' for dots."""
    values = plain(load_config(f"configs/pretrain.py:{preset}"))
    values["data"]["crop_size"] = CROP_SIZE
    values["augment"]["max_offset"] = (1, 4, 4)
    values["loss"] |= {"num_tokens": 12, "size": 16, "heads": 2, "levels": (0, 1)}
    values["loss"] |= {"contrastive": 0.5, "cross": 0.5}
    for name, value in overrides.items():
        *groups, key = name.split("__")
        group = values
        for part in groups:
            group = group[part]
        group[key] = value
    return values


def small_task(**overrides: Any) -> Pretrain:
    return build_pretrain(small_config(**overrides))


def smooth_noise(shape: tuple[int, ...], seed: int = 0, sigma: float = 1.5) -> np.ndarray:
    """Random smooth grey values over the whole range of uint8."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (*[0] * (len(shape) - 2), sigma, sigma))
    return np.clip(127.5 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


def windows_for(task: Pretrain, count: int, seed: int = 0) -> np.ndarray:
    return smooth_noise((count, *window_size(task.crop_size, task.recipe)), seed)


def without_degradation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the views their geometry alone: the degradations take most of the time to compile."""
    views = Pretrain.views

    def clean(self: Pretrain, key: Any, windows: Any, strengths: Any = None) -> Any:
        del strengths
        return views(self, key, windows, ("clean", "clean"))

    monkeypatch.setattr(Pretrain, "views", clean)


def norms(tree: Any) -> dict[str, float]:
    """Norm of every leaf by its path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(p): float(np.linalg.norm(np.asarray(x))) for p, x in leaves}
