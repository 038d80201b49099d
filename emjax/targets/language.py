"""The target language: one line of text that says what a network learns.

Entries are separated by ';', each NAME?key=value&key=value:

    affinities?offsets=-1,0,0/0,-1,0/0,0,-1&losses=balanced_bce:1+dice:0.5
    foreground?ids=1,3&losses=bce:1+dice:1
    contour?thickness=1&edges=touching&plane=true
    distance?plane=false
    signed_distance?inside=8&outside=50
    classes?ids=0,1,2
    skeleton_distance?alpha=0.8&plane=true
    energy?levels=10
    flow?plane=false
    lsd?sigma=2,10,10&coarse=1,2,2
    polarity
    exclusive_polarity
    foreground?of=mito; affinities?of=neurons

`of` names the labels of `image|neurons=A|mito=B`, `name` the channels where there are several of a kind.

`+` joins losses, `:w` is a weight (1 if left out). All targets take `weights=border/5:10+class_ratio`, `erode=1` and
`dilate=1`. `docs/targets.md` shows examples of each.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from emjax.config import nearest
from emjax.errors import InputError
from emjax.registry import Registry
from emjax.targets.options import readers_of
from emjax.targets.target import Target

TARGETS = Registry(
    "target",
    "emjax.targets",
    {
        "affinities": "emjax.targets.affinities:Affinities",
        "foreground": "emjax.targets.foreground:Foreground",
        "contour": "emjax.targets.contour:Contour",
        "distance": "emjax.targets.distance:Distance",
        "signed_distance": "emjax.targets.signed_distance:SignedDistance",
        "classes": "emjax.targets.classes:Classes",
        "skeleton_distance": "emjax.targets.skeleton_distance:SkeletonDistance",
        "energy": "emjax.targets.energy:Energy",
        "flow": "emjax.targets.flow:Flow",
        "lsd": "emjax.targets.shape_descriptors:ShapeDescriptors",
        "polarity": "emjax.targets.polarity:Polarity",
        "exclusive_polarity": "emjax.targets.polarity:ExclusivePolarity",
    },
)


def parse_targets(text: str) -> tuple[Target, ...]:
    """Returns the targets that a line of the target language names, in its order.

    Args:
        text: see above.

    Returns:
        The targets, one for each entry; the network's channels are those of the targets, in this order.

    Raises:
        InputError: for an unknown target, option or loss (names the nearest), text that is no number where one is
            needed, an option that is out of range or missing, a target given twice, or no target at all.
    """
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    if not entries:
        raise InputError("targets is empty; give what to learn, for example targets='affinities'")
    targets = tuple(_parse_entry(entry) for entry in entries)
    titles = [target.title for target in targets]
    for target in targets:
        if titles.count(target.title) > 1:
            raise InputError(
                f"targets: '{target.title}' is given twice; give each target once, with all of its options, or names "
                f"to tell them apart: {target.kind}?name=NAME"
            )
    return targets


def _parse_entry(entry: str) -> Target:
    name, _, query = (part.strip() for part in entry.partition("?"))
    kind = TARGETS.find(name)
    if kind.kind != name:
        raise InputError(
            f"target '{name}' is {TARGETS.place(name)}, which calls itself '{kind.kind}'; a target and its entry point "
            "need the same name"
        )
    readers = readers_of(kind)
    options: dict[str, Any] = {}
    for pair in query.split("&") if query else ():
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in readers:
            raise InputError(f"{name}: unknown option '{key}'{nearest(key, readers)}")
        if not equals or not value:
            raise InputError(f"{name}: option '{pair.strip()}' has no value; write {key}=VALUE")
        if key in options:
            raise InputError(f"{name}: option '{key}' is given twice; give it once")
        options[key] = readers[key](f"{name}: {key}", value)
    _check_missing(name, kind, options)
    return kind(**options)


def _check_missing(name: str, kind: type[Target], options: dict[str, Any]) -> None:
    for field in dataclasses.fields(kind):
        none = field.default is field.default_factory is dataclasses.MISSING
        if none and field.name not in options:
            example = field.metadata.get("example", "VALUE")
            raise InputError(
                f"{name}: {field.name} is missing; give it, for example {name}?{field.name}={example}"
            )
