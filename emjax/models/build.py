"""Makes a network from the plain values of a configuration, and the functions by which tasks call networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.config import DTYPES
from emjax.models.backbone import Backbone
from emjax.models.fields import as_tuples, check_fields
from emjax.registry import Registry

Params = Any

# Name in a configuration (`model.name`) -> class of the network; `emjax.models.backbone` is its contract.
NETWORKS = Registry(
    "network",
    "emjax.networks",
    {
        "unet": "emjax.models.unet:UNet",
        "vit": "emjax.models.vit:ViT",
        "rsunet": "emjax.models.rsunet:RSUNet",
        "resnet": "emjax.models.resnet:ResNet",
        "efficientnet_lite0": "emjax.models.efficientnet:EfficientNetLite0",
        "convnext": "emjax.models.convnext:ConvNext",
        "image_vit": "emjax.models.image_vit:ImageViT",
    },
)


def build_backbone(model: Mapping[str, Any]) -> Backbone:
    """Makes a network.

    Args:
        model: `name`, `dtype`, and fields of the network's class; fields that are not given keep their defaults.

    Raises:
        InputError: for an unknown name, field or choice (names the nearest), or values that do not fit together.
    """
    values = {key: as_tuples(value) for key, value in model.items()}
    name = str(values.pop("name", ""))
    kind = NETWORKS.find(name, "model.name=")
    check_fields(kind, name, values, {"dtype": DTYPES} | dict(kind.choices))
    values["dtype"] = resolve_dtype(values.get("dtype", "auto"))
    backbone = kind(**values)
    backbone.check()
    return backbone


def fit_to_voxels(
    model: Mapping[str, Any],
    voxel_nm: Sequence[float],
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Completes the fields of a network with those that depend on the shape of the voxels.

    Args:
        model: as for `build_backbone`.
        voxel_nm: (z, y, x) nm, of mixed sizes the most anisotropic one; empty where it is unknown.
        like: all fields of the network from which weights come: fields that `model` leaves open are taken from there.

    Returns:
        `model`, with the fields set that it left open.

    Raises:
        InputError: for an unknown name.
    """
    kind = NETWORKS.find(str(model.get("name", "")), "model.name=")
    chosen = kind.fit_to_voxels(model, voxel_nm)
    given = {name: like[name] for name in chosen if like and like.get(name)}
    return {**model, **chosen, **given}


def resolve_dtype(name: str) -> jnp.dtype:
    """Returns the dtype of activations; 'auto' is float32 on CPUs, which have no fast bfloat16 convolution."""
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return jnp.dtype(name)


def init_params(module: nn.Module | Backbone, key: jax.Array, *inputs: Any) -> Params:
    """Makes the parameters of a module.

    Args:
        module: any module of `emjax.models`.
        key: typed PRNG key.
        *inputs: arrays of the shapes of the module's inputs.

    Returns:
        Nested dicts of float32 arrays; empty if the module has no parameters.
    """
    # Lazily, so that only the parameters are computed. Running the network on zeros would compile all of it, and jaxlib
    # 0.11 never finishes folding those zeros on two cores.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)
    linen: Any = module
    return linen.lazy_init(key, *shapes).get("params", {})


def apply(module: nn.Module | Backbone, params: Params, *inputs: Any, **options: Any) -> Any:
    """Runs a module, as a pure function.

    Args:
        module: as given to `init_params`.
        params: as made by `init_params`.
        *inputs: inputs of the module.
        **options: options of the module.
    """
    # By its annotation, linen's `apply` may return two values; the second one only if it is requested.
    linen: Any = module
    return linen.apply({"params": params}, *inputs, **options)


def count_params(params: Params) -> int:
    """Returns the number of values in parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
