"""What a method of segmentation is: how it makes fragments, what it asks about their pairs, and how it joins them.

A new method is one file in `emjax.segmentation.methods`, with its settings and an object of `Method`, and one line: in
`METHODS` of `emjax.segmentation.methods`, or as an entry point of another package in the group `emjax.methods`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from emjax.segmentation.clusters import joined
from emjax.segmentation.evidence import Evidence, Graph
from emjax.segmentation.prediction import NEAREST, Offset, Prediction
from emjax.segmentation.settings import SizeSettings

# Table of the pairs that stitching joins.
STITCHES = "stitches"
# What a method needs that reads the nearest affinities, for messages.
NEEDS_NEAREST = "affinities " + " and ".join(",".join(map(str, o)) for o in NEAREST)

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]
# Whether channels of these names and offsets have something.
Fits: TypeAlias = Callable[[Names, Offsets], bool]
# Step of a method -> what it was made with, and what came out; of one prediction.
Memo: TypeAlias = dict[str, tuple[Any, Any]]


def no_evidence(settings: Any) -> Evidence:
    """Returns no table: the fragments are the objects."""
    del settings
    return {}


def each_alone(graph: Graph, settings: Any, memo: Memo | None) -> np.ndarray:
    """Takes every fragment as an object, joined with those of other cells that it is stitched to."""
    del settings, memo
    if STITCHES not in graph.tables:
        return graph.ids
    return joined(graph.ids, graph.tables[STITCHES].pairs)


def no_check(settings: Any, offsets: Offsets) -> None:
    """Takes settings as they are."""
    del settings, offsets


def has(*needed: str) -> Fits:
    """Returns whether channels of all these names are there."""
    return lambda names, offsets: set(needed) <= set(names)


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to make instances.

    Settings called `plane` are chosen by the voxel size where they are not given: true where sections are thick.

    Attributes:
        summary: what it does, in one line of the documentation.
        settings: their dataclass.
        needs: the channels that it needs, for messages and the documentation.
        fits: whether channels have them.
        fragments: (prediction, settings) -> `[z, y, x]` uint64.
        by_default: whether its settings fit these channels as they are, so that it can be chosen where no method is
            named; None: wherever it `fits`.
        evidence: settings -> the tables that `partition` asks for.
        across: settings -> the tables that hold pairs of fragments of different cells alone.
        partition: (graph, settings, memo) -> `[k]` uint64, for each fragment the smallest id of its
            object, 0 = background; before limits of sizes.
        check: (settings, offsets of the channels): raises InputError if a setting asks for channels that are not there.
        stitched: whether fragments are objects that the overlap of cells joins; its settings then have `stitch`.
        halo: whether fragments depend on what lies around a cell.
    """

    summary: str
    settings: type[SizeSettings]
    needs: str
    fits: Fits
    fragments: Callable[[Prediction, Any], np.ndarray]
    by_default: Fits | None = None
    evidence: Callable[[Any], Evidence] = no_evidence
    across: Callable[[Any], Evidence] = no_evidence
    partition: Callable[[Graph, Any, Memo | None], np.ndarray] = each_alone
    check: Callable[[Any, Offsets], None] = no_check
    stitched: bool = False
    halo: bool = True

    def __post_init__(self) -> None:
        """Raises TypeError on settings that are none, or a stitched method whose settings do not say how."""
        fields = {f.name: f.metadata for f in dataclasses.fields(self.settings)}
        if not issubclass(self.settings, SizeSettings):
            raise TypeError(
                f"{self.settings.__name__} must derive from emjax.segmentation.settings.SizeSettings"
            )
        bare = [name for name, rules in fields.items() if "grid" not in rules]
        if bare:
            raise TypeError(
                f"{self.settings.__name__}.{bare[0]} must be made by number or choice of emjax.segmentation.settings"
            )
        if self.stitched and "stitch" not in fields:
            raise TypeError(
                f"{self.settings.__name__} must derive from emjax.segmentation.settings.StitchSettings: its method is "
                "stitched"
            )


def once(memo: Memo | None, name: str, key: Any, make: Callable[[], Any]) -> Any:
    """Makes something unless the last thing of that name was made with the same key; without a memo, always."""
    if memo is None:
        return make()
    if name not in memo or memo[name][0] != key:
        memo[name] = (key, make())
    return memo[name][1]
