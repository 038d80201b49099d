"""What is counted in a block of a volume: all of it adds up, so that the blocks make no difference."""

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
    """A segmentation and the truth, read when asked.

    Attributes:
        labels: box -> `[z, y, x]` ids of the truth.
        segmentation: box -> `[z, y, x]` ids of the same voxels, as they are stored.
        mask: box -> `[z, y, x]`; only where it is not 0 voxels count. None: all count.
        label_ids: what the ids of the truth mean.
        segment_ids: what those of the segmentation mean.
    """

    labels: Read
    segmentation: Read
    mask: Read | None = None
    label_ids: LabelIds = NONE_NAMED
    segment_ids: LabelIds = NONE_NAMED

    def segments(self, box: Box) -> np.ndarray:
        """Reads the segmentation, `[z, y, x]` integers; 0 where there is no segment.

        Raises:
            InputError: if it has a negative id.
        """
        return self.segment_ids.segments(self.segmentation(box))

    def known(self, labels: np.ndarray, box: Box) -> np.ndarray:
        """Returns where the truth is known and counts, `[z, y, x]` bool; as `Contingency` sees it.

        Args:
            labels: `[z, y, x]`, ids of the truth in the box.
            box: where they lie.
        """
        known = ~self.label_ids.unknown(labels)
        return known & (self.mask(box) != 0) if self.mask else known

    def foregrounds(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Returns foreground of the truth and of the segmentation, `[z, y, x]` bool; neither where nothing is known."""
        labels = self.labels(box)
        known = self.known(labels, box)
        return known & self.label_ids.objects(labels), known & (self.segments(box) != 0)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What was counted in a part of a volume.

    Attributes:
        table: pairs of ids.
        far: the same of voxels far from borders, where it was asked for.
        boundaries: voxels at boundaries, where they were asked for.
        true_surface: voxels at the surface of the truth's foreground, where they were asked for.
        found_surface: of the segmentation's.
    """

    table: Contingency
    far: Contingency | None = None
    boundaries: BoundaryCounts | None = None
    true_surface: np.ndarray | None = None
    found_surface: np.ndarray | None = None

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns all of it as named arrays of numbers, as files hold them."""
        arrays = _columns(self.table, "")
        if self.far is not None:
            arrays |= _columns(self.far, "far_")
        if self.boundaries is not None:
            arrays["boundaries"] = np.asarray(self.boundaries, np.int64)
        surfaces = {"true_surface": self.true_surface, "found_surface": self.found_surface}
        return arrays | {name: s for name, s in surfaces.items() if s is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Counts:
        """Returns what `to_arrays` was given."""
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
        pair: what is compared.
        block: with the halo that `borders` and `tolerance` ask for.
        borders: of the truth, far from which voxels are counted once more; None: they are not.
        tolerance: of boundaries; None: they are not counted.
        of_foreground: whether boundaries are those of foreground, not those of ids.
        surfaces: whether to collect the surfaces of both foregrounds.

    Raises:
        InputError: if the segmentation has negative ids, or an array is none of integers.
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
        # All background is one, whatever its ids.
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
