"""Networks of known sizes, by name, as the group `model` of a configuration.

They lie apart from the modules that they configure, and import no jax: a config file is read, and a mistake in the
command answered, before the seconds that importing jax takes. Pretraining and finetuning name the same preset, so
that the one can start from the weights of the other.
"""

from __future__ import annotations

from emjax.config import Config
from emjax.registry import Registry

# Networks that weights are published for (`configs/import_weights.py`).
PUBLISHED = (
    *("resnet18", "resnet50", "efficientnet_lite0", "convnext_tiny"),
    *("vit_small", "vit_base", "vit_large", "dinov2_small"),
    "rsunet",
)

# Name -> function that returns the group. A file for each network, named as `model.name`.
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
        name: one of `PRESETS`.

    Raises:
        InputError: on an unknown name, naming the nearest.
    """
    return PRESETS.find(name)()
