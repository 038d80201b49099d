"""The contract of a segmentation method: how it makes fragments, which evidence it needs, and how it joins them.

A new method is one file in `emjax.segmentation.methods`, with its settings and a `Method` object, and one line: in
`METHODS` of `emjax.segmentation.methods`, or as an entry point of another package in the group `emjax.methods`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from emjax.segmentation.evidence import Evidence, Graph
from emjax.segmentation.prediction import NEAREST, Offset, Prediction
from emjax.segmentation.settings import SizeSettings

# Name of the table of pairs of fragments of different cells that overlap, see `emjax.segmentation.stitching`.
STITCHES = "stitches"
# The channels that a method needs to read nearest affinities, for messages.
NEEDS_NEAREST = "affinities " + " and ".join(",".join(map(str, o)) for o in NEAREST)

Names: TypeAlias = Sequence[str]
Offsets: TypeAlias = Sequence[Offset | None]
# (names, offsets of channels) -> whether they have what is needed.
Fits: TypeAlias = Callable[[Names, Offsets], bool]
# Step of a method -> the key it was made with and its result; for one prediction.
Memo: TypeAlias = dict[str, tuple[Any, Any]]


def no_evidence(settings: Any) -> Evidence:
    """Returns no tables, for methods whose fragments are the objects."""
    del settings
    return {}


def each_alone(graph: Graph, settings: Any, memo: Memo | None) -> np.ndarray:
    """Takes every fragment as an object."""
    del settings, memo
    return graph.ids


def no_check(settings: Any, offsets: Offsets) -> None:
    """Accepts all settings."""
    del settings, offsets


def has(*needed: str) -> Fits:
    """Returns a function that says whether channels of all these names exist."""
    return lambda names, offsets: set(needed) <= set(names)


@dataclasses.dataclass(frozen=True)
class Method:
    """A method that makes instances, or classes, from a prediction.

    A setting called `plane` that is not given is chosen by the voxel size: true where sections are thick.

    Attributes:
        summary: what the method does, as one line of the documentation.
        settings: the dataclass of its settings.
        needs: which channels it needs, for messages and the documentation.
        fits: whether given channels include those that it needs.
        fragments: (prediction, settings) -> fragments `[z, y, x]` uint64.
        by_default: whether its default settings suit given channels, so that it can be chosen where no method is named;
        None: wherever it `fits`.
        evidence: settings -> the tables of evidence that `partition` needs.
        across: settings -> the tables that `partition` needs only where there are several cells.
        partition: (graph, settings, memo) -> `[k]` uint64, the smallest id of each fragment's
            object, 0 = background; before limits on sizes are applied.
        check: (settings, offsets of the channels): raises InputError if a setting needs channels that do not exist.
        stitched: whether fragments are objects that are joined by their overlap between cells, before `partition` sees
            them; if so, the settings have `stitch`.
        united: whether fragments of neighbouring cells that have most of their voxels in common are made one before
            `partition` sees them; see `emjax.segmentation.stitching.match`.
        overlapped: whether `partition` gets, where there are several cells, the table `STITCHES` of all fragments of
            neighbouring cells that have more than half of the voxels of the smaller one around the face in common; its
            means are these shares.
        halo: default number of voxels, of the finest axis, that are read around a cell on each side; 0: its fragments
            do not depend on them.
        classes: (names of the channels, settings) -> what each id means, for a method that makes no objects: its
            `fragments` are the classes of voxels, each found from the channels at that voxel alone.
        parts: (prediction, objects `[z, y, x]` uint64, settings) -> `[z, y, x]` uint64, for objects whose parts
            have ids of their own in the output: made last, from the object and the channels of each voxel alone.
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
    united: bool = False
    overlapped: bool = False
    halo: int = 32
    classes: Callable[[Names, Any], dict[int, str]] | None = None
    parts: Callable[[Prediction, np.ndarray, Any], np.ndarray] | None = None

    def __post_init__(self) -> None:
        """Raises TypeError if `settings` is no valid settings class, or lacks `stitch` where the method is stitched."""
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
    """Returns the memo's result of this name if it was made with the same key, else makes it; always without a memo."""
    if memo is None:
        return make()
    if name not in memo or memo[name][0] != key:
        memo[name] = (key, make())
    return memo[name][1]
