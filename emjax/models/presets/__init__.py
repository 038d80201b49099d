"""Presets: networks of known sizes, by name, as the group `model` of a configuration.

They are separate from the networks that they configure, and import no jax, so that a config file is read, and a mistake
in the command reported, without the seconds that importing jax takes. Pretraining and finetuning name the same
preset, so that one can start from the weights of the other.
"""

from __future__ import annotations

from emjax.config import Config
from emjax.registry import Registry

# Presets that have published weights (`configs/import_weights.py`).
PUBLISHED = (
    *("resnet18", "resnet50", "efficientnet_lite0", "convnext_tiny"),
    *("vit_small", "vit_base", "vit_large", "dinov2_small"),
    "rsunet",
)

# Name of a preset -> function that returns the group `model`. One file for each network, named as `model.name`.
PRESETS = Registry(
    "preset of a network",
    "emjax.network_presets",
    {
        "small_unet": "emjax.models.presets.unet:small",
        "paper_unet": "emjax.models.presets.unet:paper",
        "wide_unet": "emjax.models.presets.unet:wide",
        "large_unet": "emjax.models.presets.unet:large",
        "base_vit": "emjax.models.presets.vit:base",
        "large_vit": "emjax.models.presets.vit:large",
        **{name: f"emjax.models.presets.published:{name}" for name in PUBLISHED},
    },
)


def network(name: str) -> Config:
    """Returns the fields of a network.

    Args:
        name: a name in `PRESETS`.

    Raises:
        InputError: for an unknown name; names the nearest.
    """
    return PRESETS.find(name)()
