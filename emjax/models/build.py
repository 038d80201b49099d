"""From the plain values of a configuration to a network, and the two ways in which tasks call networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.config import DTYPES, nearest
from emjax.errors import InputError
from emjax.models.layers import ACTIVATIONS
from emjax.models.unet import UNet
from emjax.models.vit import ViT

Params = Any
MODELS: dict[str, type[nn.Module]] = {"unet": UNet, "vit": ViT}
_CHOICES: dict[str, dict[str, tuple[str, ...]]] = {
    "unet": {
        "skips": ("none", "add", "concat"),
        "upsampling": ("depth_to_space", "resize"),
        "activation": tuple(ACTIVATIONS),
        "dtype": DTYPES,
    },
    "vit": {
        "skips": ("none", "add"),
        "positions": ("learned", "sincos"),
        "activation": tuple(ACTIVATIONS),
        "dtype": DTYPES,
    },
}


def build_backbone(model: Mapping[str, Any]) -> Any:
    """Makes a network.

    Args:
        model: `name`, `dtype`, and fields of the network's class; those not given keep their defaults.

    Raises:
        InputError: on an unknown name, field or choice, naming the nearest; on values that make no network.
    """
    values = {key: _frozen(value) for key, value in model.items()}
    name = values.pop("name", "")
    if name not in MODELS:
        raise InputError(f"model.name='{name}' is unknown{nearest(str(name), MODELS)}")
    kind = MODELS[name]
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name not in ("parent", "name")}
    for key, value in values.items():
        if key not in fields:
            raise InputError(f"model.{key} is no field of '{name}'{nearest(key, fields)}")
        choices = _CHOICES[name].get(key)
        if choices and value not in choices:
            raise InputError(f"model.{key}='{value}' is unknown{nearest(str(value), choices)}")
        _check_value(key, value, fields[key].default)
    values["dtype"] = resolve_dtype(values.get("dtype", "auto"))
    backbone = kind(**values)
    (_check_unet if name == "unet" else _check_vit)(backbone)
    return backbone


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
    # Lazily: only the parameters are computed. Running the network on zeros to make them would compile it whole, and
    # jaxlib 0.11 never ends folding those zeros on two cores.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)
    return module.lazy_init(key, *shapes).get("params", {})


def apply(module: nn.Module, params: Params, *inputs: Any, **options: Any) -> Any:
    """Runs a module; pure.

    Args:
        module: as given to `init_params`.
        params: as made by `init_params`.
        *inputs: of the module.
        **options: of the module, or `rngs={'dropout': key}`.
    """
    return module.apply({"params": params}, *inputs, **options)


def count_params(params: Params) -> int:
    """Returns how many numbers parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _check_value(key: str, value: Any, default: Any) -> None:
    """Raises InputError unless a value is of its default's kind; numbers and sizes must be positive."""
    if isinstance(default, bool):
        ok, need = isinstance(value, bool), "True or False"
    elif isinstance(default, int):
        ok, need = _is_positive(value), "a positive whole number"
    elif key in ("kernels", "strides", "decoder_strides"):
        ok = isinstance(value, tuple) and all(_is_size(size) for size in value)
        need = "(z, y, x) sizes, such as ((1, 3, 3), (3, 3, 3))"
    elif key == "patch_size":
        ok, need = _is_size(value), "a size (z, y, x)"
    elif key in ("widths", "decoder_widths"):
        ok = isinstance(value, tuple) and bool(value) and all(_is_positive(n) for n in value)
        need = "positive whole numbers, such as (16, 32)"
    elif key == "dropout":
        ok, need = isinstance(value, int | float) and 0 <= value < 1, "at least 0 and below 1"
    else:
        return
    if not ok:
        raise InputError(f"model.{key}={value} must be {need}")


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


def _check_vit(vit: ViT) -> None:
    levels = len(vit.decoder_widths)
    if len(vit.decoder_strides) != levels:
        raise InputError(
            f"model.decoder_strides has {len(vit.decoder_strides)} entries; give {levels}, one a decoder width"
        )
    product = tuple(math.prod(steps) for steps in zip(*vit.decoder_strides, strict=True))
    if product != vit.patch_size:
        raise InputError(
            f"model.decoder_strides={vit.decoder_strides} multiply to {product}; they must give "
            f"model.patch_size={vit.patch_size}"
        )
    if len(vit.taps) != levels - 1 or not all(
        isinstance(tap, int) and 0 <= tap < vit.depth for tap in vit.taps
    ):
        raise InputError(
            f"model.taps={vit.taps}: give {levels - 1} blocks out of 0 to {vit.depth - 1}, shallow to deep"
        )


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(_is_positive(n) for n in value)


def _frozen(value: Any) -> Any:
    """Lists as tuples: a module must be hashable."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value
