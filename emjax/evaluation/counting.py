"""Counts what scores need in a block of a volume; counts add up, so that scores do not depend on the blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from emjax.evaluation.boundaries import BoundaryCounts, BoundaryTolerance
from emjax.evaluation.clefts import surface
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.cremi import CremiBorders
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.volumes.label_ids import NONE_NAMED, LabelIds

Read = Callable[[Box], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A segmentation and the truth, each read when it is needed.

    Attributes:
        labels: box -> `[z, y, x]` ids of the truth.
        segmentation: box -> `[z, y, x]` ids of the segmentation, as they are stored.
        mask: box -> `[z, y, x]`; only voxels where it is not 0 count. None: all voxels count.
        label_ids: what the ids of the truth mean.
        segment_ids: what the ids of the segmentation mean.
    """

    labels: Read
    segmentation: Read
    mask: Read | None = None
    label_ids: LabelIds = NONE_NAMED
    segment_ids: LabelIds = NONE_NAMED

    def segments(self, box: Box) -> np.ndarray:
        """Reads the segmentation in a box, `[z, y, x]` integers; 0 where there is no segment.

        Raises:
            InputError: if the segmentation has a negative id.
        """
        return self.segment_ids.segments(self.segmentation(box))

    def known(self, labels: np.ndarray, box: Box) -> np.ndarray:
        """Returns where the truth is known and counts, `[z, y, x]` bool, by the same rule as `Contingency`.

        Args:
            labels: `[z, y, x]`, ids of the truth in the box.
            box: box of the labels.
        """
        known = ~self.label_ids.unknown(labels)
        return known & (self.mask(box) != 0) if self.mask else known

    def foregrounds(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Returns the foregrounds of truth and segmentation, `[z, y, x]` bool; both False where nothing is known."""
        labels = self.labels(box)
        known = self.known(labels, box)
        return known & self.label_ids.objects(labels), known & (self.segments(box) != 0)


@dataclasses.dataclass(frozen=True)
class Counts:
    """The counts of a part of a volume; None for what was not asked for.

    Attributes:
        table: pairs of ids.
        far: pairs of ids of the voxels far from borders.
        boundaries: numbers of voxels at boundaries.
        true_surface: `[n, 3]` z, y, x of the surface voxels of the truth's foreground.
        found_surface: `[n, 3]` z, y, x of the surface voxels of the segmentation's foreground.
    """

    table: Contingency
    far: Contingency | None = None
    boundaries: BoundaryCounts | None = None
    true_surface: np.ndarray | None = None
    found_surface: np.ndarray | None = None

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the counts as named arrays of numbers, as files hold them."""
        arrays = _columns(self.table, "")
        if self.far is not None:
            arrays |= _columns(self.far, "far_")
        if self.boundaries is not None:
            arrays["boundaries"] = np.asarray(self.boundaries, np.int64)
        surfaces = {"true_surface": self.true_surface, "found_surface": self.found_surface}
        return arrays | {name: s for name, s in surfaces.items() if s is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Counts:
        """Makes the counts from what `to_arrays` returned."""
        names = [field.name for field in dataclasses.fields(Contingency)]
        table = Contingency(*(arrays[name] for name in names))
        far = None
        if "far_counts" in arrays:
            far = Contingency(*(arrays[f"far_{name}"] for name in names))
        boundaries = arrays.get("boundaries")
        return cls(
            table,
            far,
            None if boundaries is None else BoundaryCounts(*boundaries.tolist()),
            arrays.get("true_surface"),
            arrays.get("found_surface"),
        )


def count_block(
    pair: Pair,
    block: Block,
    *,
    borders: CremiBorders | None = None,
    tolerance: BoundaryTolerance | None = None,
    of_foreground: bool = False,
    surfaces: bool = False,
) -> Counts:
    """Counts a block.

    Args:
        pair: the segmentation and the truth.
        block: the block, with the halo that `borders` and `tolerance` need.
        borders: which voxels are far from the truth's borders, to be counted separately too; None: they are not.
        tolerance: tolerance of boundaries; None: boundaries are not counted.
        of_foreground: whether boundaries are those of the foreground instead of those of ids.
        surfaces: whether to collect the surfaces of both foregrounds.

    Raises:
        InputError: if the segmentation has negative ids, or an array is not of integers.
    """
    labels, segmentation = pair.labels(block.read), pair.segments(block.read)
    core = block.core.translate(tuple(-s for s in block.read.start)).slices
    mask = pair.mask(block.core) != 0 if pair.mask else None
    table = Contingency.from_arrays(
        labels[core],
        segmentation[core],
        label_ids=pair.label_ids,
        segment_ids=pair.segment_ids,
        mask=mask,
    )
    far = boundaries = true = found = None
    if borders is not None:
        away = borders.far(labels)[core]
        far = Contingency.from_arrays(
            labels[core],
            segmentation[core],
            label_ids=pair.label_ids,
            mask=away if mask is None else away & mask,
        )
    if tolerance is not None:
        objects, known = pair.label_ids.objects(labels), pair.known(labels, block.read)
        # All background becomes one id.
        ids = objects if of_foreground else np.where(objects, labels, labels.dtype.type(0))
        found_ids = segmentation != 0 if of_foreground else segmentation
        boundaries = tolerance.count(ids, found_ids, known, core)
    if surfaces:
        masks = pair.foregrounds(block.core)
        true, found = (surface(mask, block.core.start) for mask in masks)
    return Counts(table, far, boundaries, true, found)


def _columns(table: Contingency, prefix: str) -> dict[str, np.ndarray]:
    fields = (field.name for field in dataclasses.fields(table))
    return {f"{prefix}{name}": getattr(table, name) for name in fields}
