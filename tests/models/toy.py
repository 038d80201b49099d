"""A network from outside of emjax, in a file of its own, and what makes Python believe that it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

NETWORK = '''
"""One convolution: the least that a network can be."""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.geometry.footprint import Footprint
from emjax.models.layers import Conv


class Toy(nn.Module):
    width: int = 4
    activation: str = "relu"
    out_channels: int = 1
    dtype: jnp.dtype = jnp.float32

    choices: ClassVar = {"activation": ("relu", "tanh")}
    level_strides = ((1, 1, 1),)
    layers = (("stem", 1),)
    footprint = Footprint((1, 1, 1), (0, 1, 1))

    @property
    def level_channels(self):
        return (self.width,)

    @classmethod
    def fit_to_voxels(cls, model, voxel_nm, crop_size):
        return {}

    def check(self):
        if self.width > 64:
            raise InputError(f"model.width={self.width} is more than a toy can have: 64")

    def check_crop(self, crop_size):
        pass

    @nn.compact
    def __call__(self, x):
        x = nn.relu(Conv(self.width, (1, 3, 3), dtype=self.dtype, name="stem")(x))
        output = Conv(self.out_channels, (1, 1, 1), name="head")(x)
        return {"pyramid": (x,), "centre": x, "output": output}
'''


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    modules: dict[str, str],
    points: dict[str, dict[str, str]],
) -> None:
    """Puts modules and their entry points where Python finds installed packages.

    Args:
        folder: an empty one.
        monkeypatch: takes them away again.
        modules: name -> source.
        points: group -> name -> 'module:attribute'.
    """
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source.lstrip())
    info = folder / "beside_emjax-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beside_emjax\nVersion: 1.0\n")
    lines = []
    for group, places in points.items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in places.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))


def install_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs `NETWORK` under the name 'toy'."""
    install(
        folder,
        monkeypatch,
        {"toy_network": NETWORK},
        {"emjax.networks": {"toy": "toy_network:Toy"}},
    )
