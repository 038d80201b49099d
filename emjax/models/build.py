"""From the plain values of a configuration to a network, and the two ways in which tasks call networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.config import nearest
from emjax.errors import InputError
from emjax.models.layers import ACTIVATIONS
from emjax.models.unet import UNet
from emjax.models.vit import ViT

Params = Any
MODELS: dict[str, type[nn.Module]] = {"unet": UNet, "vit": ViT}
_CHOICES = {
    "skips": ("none", "add", "concat"),
    "upsampling": ("depth_to_space", "resize"),
    "activation": tuple(ACTIVATIONS),
    "positions": ("learned", "sincos"),
}


def build_backbone(model: Mapping[str, Any]) -> Any:
    """Makes a network.

    Args:
        model: `name`, `dtype`, and fields of the network's class; those not given keep their defaults.

    Raises:
        InputError: on an unknown name, field or choice; names the nearest.
    """
    values = {key: _frozen(value) for key, value in model.items()}
    name = values.pop("name")
    if name not in MODELS:
        raise InputError(f"model.name='{name}' is unknown{nearest(str(name), MODELS)}")
    kind = MODELS[name]
    known = {f.name for f in dataclasses.fields(kind)} - {"parent", "name"}
    for key in values:
        if key not in known:
            raise InputError(f"model.{key} is no field of '{name}'{nearest(key, known)}")
    for key, choices in _CHOICES.items():
        if key in values and values[key] not in choices:
            raise InputError(
                f"model.{key}='{values[key]}' is unknown{nearest(values[key], choices)}"
            )
    if name == "unet":
        _check_unet(UNet(**{k: v for k, v in values.items() if k != "dtype"}))
    values["dtype"] = resolve_dtype(values.get("dtype", "auto"))
    return kind(**values)


def resolve_dtype(name: str) -> jnp.dtype:
    """Returns the dtype of activations; 'auto' is float32 on CPUs, which have no fast bfloat16 convolution."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def init_params(module: nn.Module, key: jax.Array, *inputs: Any) -> Params:
    """Makes the parameters of a module.

    Args:
        module: any module of `emjax.models`.
        key: typed PRNG key.
        *inputs: arrays of the shapes that it will see.

    Returns:
        Nested dicts of float32 arrays; empty where the module has none.
    """
    return module.init(key, *inputs).get("params", {})


def apply(module: nn.Module, params: Params, *inputs: Any, **options: Any) -> Any:
    """Runs a module; pure.

    Args:
        module: as given to `init_params`.
        params: as made by `init_params`.
        *inputs: of the module.
        **options: of the module.
    """
    return module.apply({"params": params}, *inputs, **options)


def count_params(params: Params) -> int:
    """Returns how many numbers parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _check_unet(unet: UNet) -> None:
    levels = len(unet.widths)
    if levels < 2:
        raise InputError(f"model.widths={unet.widths}: give two or more, fine to coarse")
    if len(unet.kernels) not in (1, levels):
        raise InputError(f"model.kernels has {len(unet.kernels)} entries; give one, or {levels}")
    if any(size % 2 == 0 for kernel in unet.kernels for size in kernel):
        raise InputError(f"model.kernels={unet.kernels} must be odd, so that sizes are kept")
    if unet.strides and len(unet.strides) != levels - 1:
        raise InputError(f"model.strides has {len(unet.strides)} entries; give {levels - 1}")


def _frozen(value: Any) -> Any:
    """Lists as tuples: a module must be hashable."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
