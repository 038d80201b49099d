"""The option `weights` of targets: which voxels count more in the losses.

The text is NAME/SIZE:STRENGTH, several joined by '+', as in `border/5:10+class_ratio`. The weight of a voxel is 1, plus
for each map its strength times its extra (`emjax.losses.weight_maps`).
"""

from __future__ import annotations

from typing import TypeAlias

from emjax.config import nearest
from emjax.errors import InputError

# (name, size, strength) of each map.
Weights: TypeAlias = tuple[tuple[str, float, float], ...]

# Name -> the size where none is given; None: the map has no size.
SIZES: dict[str, float | None] = {
    "class_ratio": None,
    "dilated_ratio": 2.0,  # voxels within the section, to each side
    "border": 5.0,  # sigma, in units of the shortest side of a voxel
    "small": 100.0,  # voxels
}
# Maps of the labels alone, for targets whose values are numbers and no classes.
OF_LABELS = ("border", "small")
# Maps whose sizes are numbers of voxels.
_WHOLE = ("dilated_ratio", "small")


def check_weights(kind: str, weights: Weights, known: tuple[str, ...]) -> None:
    """Raises InputError on maps that a target does not have, are given twice, or have no possible size or strength.

    Args:
        kind: name of the target, for messages.
        weights: the maps.
        known: names of the maps that are meaningful for the target.
    """
    for name, size, strength in weights:
        if name not in known:
            raise InputError(f"{kind}: no weights '{name}' for this target{nearest(name, known)}")
        if [n for n, *_ in weights].count(name) > 1:
            raise InputError(f"{kind}: weights {name} are given twice; give them once")
        if not 0 < strength < float("inf"):
            raise InputError(f"{kind}: strength {strength:g} of weights {name} must be above 0")
        if SIZES[name] is None:
            if size:
                raise InputError(f"{kind}: weights {name} have no size; write {name}:STRENGTH")
        elif not 0 < size < float("inf"):
            raise InputError(f"{kind}: size {size:g} of weights {name} must be above 0")
        elif name in _WHOLE and size != int(size):
            raise InputError(f"{kind}: size {size:g} of weights {name} must be whole, in voxels")
