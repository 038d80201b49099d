"""From the plain values of a configuration to a network, and the two ways in which tasks call networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from emjax.config import DTYPES
from emjax.geometry.sizes import Size
from emjax.models.backbone import Backbone
from emjax.models.fields import as_tuples, check_fields
from emjax.registry import Registry

Params = Any

# Name in a configuration (`model.name`) -> the network's class; `emjax.models.backbone` says what it has to bring.
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
        model: `name`, `dtype`, and fields of the network's class; those not given keep their defaults.

    Raises:
        InputError: on an unknown name, field or choice, naming the nearest; on values that make no network.
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
    crop_size: Size,
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Completes a network by the fields that follow from the shape of the voxels.

    Args:
        model: as for `build_backbone`.
        voxel_nm: (z, y, x) nm; empty where it is unknown or mixed.
        crop_size: (z, y, x) voxels.
        like: the complete network that weights come from: what `model` leaves open is taken from there.

    Returns:
        `model` with those fields set that it left open.

    Raises:
        InputError: on an unknown name.
    """
    kind = NETWORKS.find(str(model.get("name", "")), "model.name=")
    chosen = kind.fit_to_voxels(model, voxel_nm, crop_size)
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
        *inputs: arrays of the shapes that it will see.

    Returns:
        Nested dicts of float32 arrays; empty where the module has none.
    """
    # Lazily: only the parameters are computed. Running the network on zeros to make them would compile it whole, and
    # jaxlib 0.11 never ends folding those zeros on two cores.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)
    linen: Any = module
    return linen.lazy_init(key, *shapes).get("params", {})


def apply(module: nn.Module | Backbone, params: Params, *inputs: Any, **options: Any) -> Any:
    """Runs a module; pure.

    Args:
        module: as given to `init_params`.
        params: as made by `init_params`.
        *inputs: of the module.
        **options: of the module.
    """
    # linen says that `apply` may return two things, of which the second is there for who asks for it.
    linen: Any = module
    return linen.apply({"params": params}, *inputs, **options)


def count_params(params: Params) -> int:
    """Returns how many numbers parameters hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
