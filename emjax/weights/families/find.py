"""Finding out of which family a file of weights is."""

from __future__ import annotations

import re

from emjax.errors import InputError
from emjax.registry import Registry
from emjax.weights.arrays import Arrays

# In this order they are tried, and listed.
FAMILIES = Registry(
    "family of weights",
    "emjax.weight_families",
    {
        "resnet": "emjax.weights.families.resnet:FAMILY",
        "efficientnet_lite0": "emjax.weights.families.efficientnet:FAMILY",
        "convnext_timm": "emjax.weights.families.convnext:TIMM",
        "convnext_torchvision": "emjax.weights.families.convnext:TORCHVISION",
        "convnext": "emjax.weights.families.convnext:AUTHORS",
        "vit": "emjax.weights.families.vit:FUSED",
        "vit_transformers": "emjax.weights.families.vit:TRANSFORMERS",
        "rsunet": "emjax.weights.families.rsunet:FAMILY",
        "dinov2_transformers": "emjax.weights.families.vit:DINOV2_TRANSFORMERS",
    },
)


def find_family(arrays: Arrays, name: str = "") -> tuple[str, str]:
    """Finds out of which family a file is.

    Args:
        arrays: of the file.
        name: of the family, where it is known; '': by the names in the file.

    Returns:
        The family's name, and what stands before the names in the file, such as 'teacher.backbone.'.

    Raises:
        InputError: on an unknown family; if no family has such names, naming the nearest and what it lacks; if several
            have.
    """
    tried = {name: FAMILIES.find(name, "family=")} if name else dict(FAMILIES)
    found: list[tuple[str, str]] = []
    nearest, lacks = "", list[str]()
    for key, family in tried.items():
        for prefix in _prefixes(arrays, family.first):
            names = [n.removeprefix(prefix) for n in arrays if n.startswith(prefix)]
            missing = [m for m in family.marks if not any(re.fullmatch(m, n) for n in names)]
            if not missing:
                found.append((key, prefix))
            elif not nearest or len(missing) < len(lacks):
                nearest, lacks = key, missing
    if len(found) == 1:
        return found[0]
    if found:
        both = " and ".join(f"'{key}' (names that begin with '{prefix}')" for key, prefix in found)
        raise InputError(
            f"{arrays.source} could be of {both}; set family= to one, or save the arrays of one network alone"
        )
    if nearest:
        needs = lacks[0].replace("\\", "")
        raise InputError(
            f"{arrays.source} is of no known family; the nearest is '{nearest}', which also has {needs}"
        )
    first = ", ".join(list(arrays)[:3])
    raise InputError(
        f"{arrays.source} is of no known family ({', '.join(tried)}); its names begin with {first}"
    )


def shapes_of(arrays: Arrays, prefix: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a file's arrays by their names without the prefix; others are left out."""
    return {n.removeprefix(prefix): arrays.shape(n) for n in arrays if n.startswith(prefix)}


def _prefixes(arrays: Arrays, first: str) -> list[str]:
    ends = [name.removesuffix(first) for name in arrays if name.endswith(first)]
    return [prefix for prefix in ends if not prefix or prefix.endswith(".")]
