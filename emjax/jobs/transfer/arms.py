"""The arms of a comparison: which weights each starts from, and what of the network learns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from emjax.config import nearest
from emjax.errors import InputError
from emjax.weights.inflate import FILLS

SCRATCH, PLANE, AS_IT_IS = "scratch", "2d", "source"
_FROZEN = "+frozen"
# Fields of networks with an encoder for photographs that say how many sections a kernel sees.
_DEPTHS = ("slices", "kernel_depth")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to start.

    Attributes:
        name: as the configuration gives it, which is also the name of its folder but for '+' and '='.
        start: 'scratch'; '2d': the weights on each section by itself; a fill of `emjax.weights.inflate`; or 'source':
            the weights as they are.
        weights: file or run that only this arm starts from; '': the `source` of the comparison.
        frozen: whether only decoder and head learn.
    """

    name: str
    start: str
    weights: str = ""
    frozen: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return re.sub(r"[^A-Za-z0-9_]+", "_", self.name.partition("=")[0])[:64] + (
            "_frozen" if self.frozen and self.weights else ""
        )

    @property
    def title(self) -> str:
        """Name in tables and pictures."""
        return self.name.partition("=")[0] + (_FROZEN if self.frozen and self.weights else "")

    def model(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the network of this arm, of the fields of the comparison's network."""
        changed = dict(model)
        if self.start == PLANE:
            changed |= {name: 1 for name in _DEPTHS if name in model} | {"stem_fill": "average"}
        elif self.start in FILLS:
            changed |= {"stem_fill": self.start}
            if self.start in ("center", "average"):
                changed |= {"kernel_fill": self.start}
        return changed


def parse_arms(text: str) -> tuple[Arm, ...]:
    """Reads `scratch,2d,average,center,center+frozen,own=runs/pretrain`.

    Args:
        text: names separated by commas. Each is a start, or NAME=WEIGHTS; '+frozen' at its end keeps the encoder as it
            is.

    Raises:
        InputError: on an unknown start, naming the nearest; or two arms of one name.
    """
    arms = []
    for part in (piece.strip() for piece in text.split(",")):
        frozen = part.endswith(_FROZEN)
        name, equals, weights = part.removesuffix(_FROZEN).partition("=")
        known = (SCRATCH, PLANE, AS_IT_IS, *FILLS)
        if equals:
            if not (re.fullmatch(r"\w+", name) and weights) or name in known:
                raise InputError(
                    f"arms: '{part}' is not NAME=WEIGHTS with a name of its own, as in own=runs/pretrain"
                )
            arms.append(Arm(part, AS_IT_IS, weights, frozen))
        elif name in known:
            arms.append(Arm(part, name, "", frozen))
        else:
            raise InputError(f"arms: '{name}' is unknown{nearest(name, known)}, or NAME=WEIGHTS")
    folders = [arm.folder for arm in arms]
    twice = [arm.name for arm in arms if folders.count(arm.folder) > 1]
    if twice:
        raise InputError(f"arms: '{twice[0]}' is there twice; give each arm a name of its own")
    return tuple(arms)
