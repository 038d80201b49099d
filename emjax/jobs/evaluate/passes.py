"""What an evaluation does with each block, and how the whole follows from it.

Each pass is a function of a block that any process can call: it knows where the volumes are, and returns once what it
found is on disk (`emjax.blocks.parts`).

- `CountPairs`: pairs of ids, voxels at boundaries (seen with a halo as wide as the tolerance) and the surfaces of
  clefts. Counts add up; surfaces are put together.
- `MeasureClefts`: how far the cleft voxels of a block are from the nearest of the other volume. That may lie in any
  block, so that every process has the surfaces of all clefts, which are few voxels of a volume. Distances are
  added up as whole numbers.
- `LookUpPoints`: the ids at the points of skeletons. Blocks without points are not visited.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.blocks.opening import once, open_once
from emjax.blocks.parts import read_shared
from emjax.blocks.work import BlockWork, Parts
from emjax.evaluation.boundaries import BoundaryTolerance
from emjax.evaluation.clefts import Nearest
from emjax.evaluation.counting import Pair, count_block
from emjax.evaluation.cremi import CremiBorders
from emjax.evaluation.run_length import look_up
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.geometry.sizes import Triple
from emjax.volumes.label_ids import NONE_NAMED, LabelIds


@dataclasses.dataclass(frozen=True)
class Source:
    """A segmentation and the truth, by their addresses, so that another process can open them too.

    Attributes:
        segmentation: absolute address.
        labels: absolute address; '' where skeletons alone judge.
        mask: absolute address; '': all voxels count.
        label_ids: what those of the labels mean.
        segment_ids: what those of the segmentation mean.
        run: name of the run, so that none reads through what an earlier one of its process opened.
    """

    segmentation: str
    labels: str = ""
    mask: str = ""
    label_ids: LabelIds = NONE_NAMED
    segment_ids: LabelIds = NONE_NAMED
    run: str = ""

    def pair(self) -> Pair:
        """Returns both, opened."""
        return Pair(
            open_once(self.labels, self.run).read,
            open_once(self.segmentation, self.run).read,
            open_once(self.mask, self.run).read if self.mask else None,
            self.label_ids,
            self.segment_ids,
        )

    def segments(self, box: Box) -> np.ndarray:
        """Reads the segmentation, `[z, y, x]` integers; 0 where there is no segment."""
        return self.segment_ids.segments(open_once(self.segmentation, self.run).read(box))


@dataclasses.dataclass(frozen=True)
class CountPairs(BlockWork):
    """Counts a block.

    Attributes:
        source: what is compared.
        folder: of the parts.
        borders: far from which voxels are counted once more, for CREMI's score; None: they are not.
        tolerance: of boundaries; None: they are not counted.
        of_foreground: whether boundaries are those of foreground, not those of ids.
        surfaces: whether to collect the surfaces of both foregrounds.
    """

    source: Source
    folder: str
    borders: CremiBorders | None
    tolerance: BoundaryTolerance | None
    of_foreground: bool
    surfaces: bool

    @property
    def sink(self) -> Parts:
        """See `BlockWork`."""
        return Parts(self.folder)

    def compute(self, block: Block) -> dict[str, np.ndarray]:
        """Returns the part of a block, that of `Counts.to_arrays`; what it reads depends on what is asked for."""
        counts = count_block(
            self.source.pair(),
            block,
            borders=self.borders,
            tolerance=self.tolerance,
            of_foreground=self.of_foreground,
            surfaces=self.surfaces,
        )
        return counts.to_arrays()


@dataclasses.dataclass(frozen=True)
class MeasureClefts(BlockWork):
    """Measures how far the clefts of a block are from those of the other volume.

    Attributes:
        source: what is compared.
        folder: of the parts.
        surfaces: file with `true_surface` and `found_surface`, `[n, 3]`, of the whole volume.
        voxel_nm: (z, y, x) voxel size, nm.
    """

    source: Source
    folder: str
    surfaces: str
    voxel_nm: Triple

    @property
    def sink(self) -> Parts:
        """See `BlockWork`."""
        return Parts(self.folder)

    def compute(self, block: Block) -> dict[str, np.ndarray]:
        """Returns the part of a block: `found_to_true` and `true_to_found` of `Distances.to_array`."""
        to_true, to_found = _nearest(self.surfaces, self.voxel_nm, self.source.run)
        true, found = self.source.pair().foregrounds(block.core)
        start = block.core.start
        return {
            "found_to_true": to_true.measure(found, true, start).to_array(),
            "true_to_found": to_found.measure(true, found, start).to_array(),
        }


@dataclasses.dataclass(frozen=True)
class LookUpPoints(BlockWork):
    """Reads the ids at points.

    Attributes:
        source: with the segmentation.
        folder: of the parts.
        points: file with `voxels` `[n, 3]` and `blocks` `[n]`, the block of each, sorted.
    """

    source: Source
    folder: str
    points: str

    @property
    def sink(self) -> Parts:
        """See `BlockWork`."""
        return Parts(self.folder)

    def compute(self, block: Block) -> dict[str, np.ndarray]:
        """Returns the part of a block, which has points: `ids` `[k]` uint64 of those, in their order."""
        points = read_shared(self.points, self.source.run)
        first, last = np.searchsorted(points["blocks"], [block.index, block.index + 1])
        return {"ids": look_up(points["voxels"][first:last], self.source.segments)}


@once(1)
def _nearest(path: str, voxel_nm: Triple, run: str) -> tuple[Nearest, ...]:
    surfaces = read_shared(path, run)
    return tuple(Nearest([surfaces[f"{name}_surface"]], voxel_nm) for name in ("true", "found"))
