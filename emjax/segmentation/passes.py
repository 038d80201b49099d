"""The passes over the blocks of a segmentation: make fragments, gather evidence about their pairs, relabel.

Each pass is a function of a block that any process can call; it knows its input and output, and returns once its
output is on disk. Between the second and the third pass the whole graph is partitioned (`partition_graph`), in one
process. A block is processed cell by cell, so that memory depends on the cell size only.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from typing import Any

import numpy as np
import tensorstore as ts
from etils import epath

from emjax.blocks.opening import open_output_once
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.runs.whole_file import write_whole
from emjax.segmentation.cells import Cells, cut
from emjax.segmentation.channels import Channels
from emjax.segmentation.clusters import joined
from emjax.segmentation.evidence import Evidence, Graph, reach
from emjax.segmentation.graph_files import (
    read_columns,
    read_segments,
    read_statistics,
    write_columns,
    write_statistics,
)
from emjax.segmentation.method import STITCHES
from emjax.segmentation.methods import METHODS, evidence_of, solve
from emjax.segmentation.region_graph import EdgeStatistics, contract, merge_statistics
from emjax.segmentation.sizes import relabel
from emjax.segmentation.stitching import Face, match, outer_slabs
from emjax.volumes.write.zarr import ZarrOutput

FRAGMENTS = "fragments.zarr"
SIZES = "sizes"
FACES_FOLDER = "faces"
SEGMENTS = "segments.parquet"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that decides the result of a segmentation of a volume, and the paths of its parts.

    Attributes:
        channels: the prediction.
        cells: of the prediction.
        method: a name in `METHODS`.
        settings: of the method.
        graph: folder of the fragments and the graph.
    """

    channels: Channels
    cells: Cells
    method: str
    settings: Any
    graph: str

    @property
    def tables(self) -> Evidence:
        """The tables of evidence that are gathered from voxels."""
        across = METHODS.find(self.method).across(self.settings) if len(self.cells) > 1 else {}
        return {**evidence_of(self.method, self.settings), **across}

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of all tables of the graph, that of stitching included."""
        return (*self.tables, *((STITCHES,) if self.stitched else ()))

    @property
    def stitched(self) -> bool:
        """Whether fragments of different cells are compared by their overlap."""
        method = METHODS.find(self.method)
        return (method.stitched or method.united or method.overlapped) and len(self.cells) > 1

    @property
    def overlapped(self) -> bool:
        """Whether the method itself decides which fragments that overlap are one."""
        return METHODS.find(self.method).overlapped and len(self.cells) > 1

    @property
    def share(self) -> float | None:
        """What decides which fragments of different cells are the same; see `match`."""
        return getattr(self.settings, "stitch", None)

    def parts(self, objects: np.ndarray, box: Box) -> np.ndarray:
        """Returns the ids of objects in a box of the prediction, or of their parts where the method has some."""
        parts = METHODS.find(self.method).parts
        return parts(self.channels.read(box), objects, self.settings) if parts else objects

    def open(self, path: str) -> ts.TensorStore:
        """Opens a volume that this run made; only once in each process."""
        return open_output_once(ZarrOutput(path), 0, self.channels.run)

    def file(self, *parts: str) -> str:
        """Returns a path in the folder of the graph."""
        return "/".join([self.graph.rstrip("/"), *parts])


@dataclasses.dataclass(frozen=True)
class MakeFragments:
    """First pass: makes the fragments of each cell, and counts their sizes."""

    plan: Plan

    def __call__(self, block: Block) -> None:
        """Processes one block."""
        plan = self.plan
        store = plan.open(plan.file(FRAGMENTS))
        ids, sizes = [], []
        for cell in plan.cells.within(block.core):
            prediction = plan.channels.read(cell.read)
            labels = METHODS.find(plan.method).fragments(prediction, plan.settings)
            core, slabs, counts = _numbered(labels, cell, plan.cells, plan.stitched)
            first = plan.cells.first_id(cell.index)
            ids.append(np.arange(first + 1, first + 1 + len(counts), dtype=np.uint64))
            sizes.append(counts)
            if plan.stitched:
                _write_slabs(plan.file(FACES_FOLDER, f"cell-{cell.index}.npz"), slabs)
            core[core > 0] += np.uint64(first)
            store[plan.cells.inside(cell.core).slices].write(core).result()
        write_columns(
            plan.file(SIZES, f"block-{block.index}.parquet"),
            fragment=np.concatenate(ids),
            voxels=np.concatenate(sizes),
        )


@dataclasses.dataclass(frozen=True)
class GatherEvidence:
    """Second pass: gathers the evidence of the pairs of fragments, those across faces of cells included."""

    plan: Plan

    def __call__(self, block: Block) -> None:
        """Processes one block."""
        plan = self.plan
        parts: dict[str, list[EdgeStatistics]] = {name: [] for name in plan.table_names}
        for cell in plan.cells.within(block.core):
            for name, statistics in self._from_voxels(cell).items():
                parts[name].append(statistics)
            if plan.stitched:
                parts[STITCHES].extend(self._stitches(cell))
        for name, found in parts.items():
            path = plan.file(name, f"block-{block.index}.parquet")
            write_statistics(path, merge_statistics(found or [_no_pairs()]))

    def _from_voxels(self, cell: Block) -> dict[str, EdgeStatistics]:
        plan = self.plan
        tables = plan.tables
        if not tables:
            return {}
        margin = reach(tables, plan.channels.offsets)
        read = cell.core.grow(margin).clip(plan.cells.outer)
        fragments = _read(plan.open(plan.file(FRAGMENTS)), plan.cells.inside(read))
        prediction = plan.channels.read(read)
        z, y, x = cell.core.translate(tuple(-start for start in read.start)).slices
        return {name: t.gather(prediction, fragments, (z, y, x)) for name, t in tables.items()}

    def _stitches(self, cell: Block) -> list[EdgeStatistics]:
        """Compares a cell with its neighbours on the lower side of each axis."""
        plan = self.plan
        store = plan.open(plan.file(FRAGMENTS))
        found = []
        for axis in range(3):
            other = plan.cells.below(cell, axis)
            if other is None:
                continue
            at_cell, at_other = Face(axis, upper=False), Face(axis, upper=True)
            below, above = at_cell.slab(cell, plan.cells), at_other.slab(other, plan.cells)
            of_cell = (_read_slab(plan, cell, at_cell), _read(store, plan.cells.inside(above)))
            of_other = (_read(store, plan.cells.inside(below)), _read_slab(plan, other, at_other))
            found.append(match(of_other, of_cell, plan.share, plan.overlapped))
        return found


@dataclasses.dataclass(frozen=True)
class Relabel:
    """Third pass: replaces fragments by objects.

    Attributes:
        plan: of the segmentation.
        segments: path of `segments.parquet`.
        output: path of the output volume.
    """

    plan: Plan
    segments: str
    output: str

    def __call__(self, block: Block) -> None:
        """Processes one block."""
        plan = self.plan
        fragments = plan.open(plan.file(FRAGMENTS))
        output = plan.open(self.output)
        for cell in plan.cells.within(block.core):
            inside = plan.cells.inside(cell.core)
            labels = _read(fragments, inside)
            first = plan.cells.first_id(cell.index)
            labels[labels > 0] -= np.uint64(first)
            last = int(labels.max())
            lookup = np.zeros(last + 1, np.uint64)
            if last:
                lookup[1:] = read_segments(self.segments, first + 1, first + last)
            objects = plan.parts(lookup[labels], cell.core)
            output[inside.slices].write(objects).result()


def partition_graph(plan: Plan, blocks: int, path: str) -> dict[str, int]:
    """Decides which fragments are one object, and writes `segments.parquet`.

    Args:
        plan: of the segmentation.
        blocks: number of blocks in the two passes that made the graph.
        path: of the file to write.

    Returns:
        Number of `fragments`, `edges` (pairs in the first table) and `objects`.

    Raises:
        InputError: if a file of the graph is damaged.
    """
    files = [f"block-{index}.parquet" for index in range(blocks)]
    columns = [read_columns(plan.file(SIZES, name), "fragment", "voxels") for name in files]
    ids, sizes = (np.concatenate(part) for part in zip(*columns, strict=True))
    order = np.argsort(ids)
    tables = {
        table: read_statistics([plan.file(table, name) for name in files])
        for table in plan.table_names
    }
    graph = Graph(ids[order], sizes[order], tables)
    same = graph.ids
    if plan.stitched and not plan.overlapped:
        same = joined(graph.ids, tables.pop(STITCHES).pairs)
    united = _united(graph, same)
    objects = solve(united, plan.method, plan.settings)
    segments = objects[np.searchsorted(united.ids, same)]
    write_columns(path, fragment=graph.ids, segment=segments)
    return {
        "fragments": len(ids),
        "edges": len(next(iter(tables.values()))) if tables else 0,
        "objects": int(segments.max(initial=0)),
    }


def _united(graph: Graph, same: np.ndarray) -> Graph:
    """Returns a graph with one fragment for those that are the same, named by the smallest id of these.

    Args:
        graph: of all fragments.
        same: `[k]` uint64, the smallest id of the fragments that are the same.
    """
    names, index = np.unique(same, return_inverse=True)
    if len(names) == len(same):
        return graph
    sizes = np.zeros(len(names), np.int64)
    np.add.at(sizes, index, graph.sizes)
    tables = {name: contract(table, graph.ids, same) for name, table in graph.tables.items()}
    return Graph(names, sizes, tables)


def _numbered(
    labels: np.ndarray, cell: Block, cells: Cells, outside: bool
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Renumbers the labels of a cell 1..k by their first voxels in the core.

    Returns the renumbered core, with `outside` the same of the slabs beyond its faces, and the size of each label.

    Labels that occur only in the halo become 0: they are no fragments of this cell.
    """
    if outside:
        labels, _ = relabel(labels)
    core = np.ascontiguousarray(cut(labels, cell.core, cell.read))
    numbered, sizes = relabel(core)
    if not outside:
        return numbered, {}, sizes
    new = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    new[core.view(np.int64)] = numbered
    slabs = outer_slabs(labels, cell, cells)
    return numbered, {name: new[slab.view(np.int64)] for name, slab in slabs.items()}, sizes


def _write_slabs(path: str, slabs: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **slabs)
    write_whole(path, buffer.getvalue())


def _read_slab(plan: Plan, cell: Block, face: Face) -> np.ndarray:
    path = epath.Path(plan.file(FACES_FOLDER, f"cell-{cell.index}.npz"))
    try:
        numbers = np.load(io.BytesIO(path.read_bytes()))[face.name].astype(np.uint64)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    numbers[numbers > 0] += np.uint64(plan.cells.first_id(cell.index))
    return numbers


def _no_pairs() -> EdgeStatistics:
    nothing = np.zeros(0, np.int64)
    return EdgeStatistics(np.zeros((0, 2), np.uint64), nothing, nothing, nothing, nothing)


def _read(store: ts.TensorStore, box: Box) -> np.ndarray:
    return store[box.slices].read().result()
