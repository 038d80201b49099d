"""The job `evaluate`: how good a segmentation is, block by block."""

from __future__ import annotations

import concurrent.futures
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.evaluation.average_precision import average_precision, mean_average_precision
from emjax.evaluation.boundaries import BoundaryCounts, BoundaryTolerance
from emjax.evaluation.clefts import Distances, Nearest, cleft_scores
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.counting import Counts, count_block
from emjax.evaluation.overlap import class_overlap, foreground_overlap
from emjax.evaluation.partition import adapted_rand, variation_of_information
from emjax.evaluation.skeletons import expected_run_length, look_up, voxels_of
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Grid
from emjax.inference.progress import BlockProgress
from emjax.inference.stopping import PREEMPTED, Stopping
from emjax.jobs.evaluate_inputs import Inputs, open_inputs
from emjax.jobs.evaluate_report import closing_lines, draw_sections, write_plots
from emjax.train.run_folder import open_run_folder, write_results

T = TypeVar("T")
Triple = tuple[float, float, float]

# Voxels that are counted at a time.
_BLOCK = (32, 512, 512)
# A voxel so many times longer along z than in the plane: annotators drew sections, and so boundaries are judged.
_ANISOTROPIC = 2.0
# More ids than this are no classes.
_MOST_CLASSES = 64


class _Stopped(Exception):  # noqa: N818  (not an error)
    """The process was asked to stop."""


class Judged(NamedTuple):
    """Scores, and what has to be said with them.

    Attributes:
        scores: name in `results.json` -> number.
        remarks: what is absent and why, what was left out and how it was judged.
    """

    scores: dict[str, float]
    remarks: list[str]


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Scores a segmentation as configured, and writes `results.json` and plots to `workdir`.

    Args:
        config: as made by `configs/evaluate.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command begins again.

    Raises:
        InputError: if the configuration or the volumes cannot work, or nothing is left to score.
    """
    inputs = open_inputs(config)
    folder = Path(os.fspath(open_run_folder(workdir, config)))
    try:
        with Stopping() as stopping:
            judged = judge(config, inputs, stopping)
    except _Stopped:
        logging.info("interrupted; the same command begins again")
        return PREEMPTED
    picture = draw_sections(inputs.image, inputs.labels, inputs.segmentation, inputs.box)
    plots = write_plots(folder, {"sections.png": picture})
    write_results(folder, judged.scores)
    print(closing_lines(folder, judged.scores, judged.remarks, plots), flush=True)
    return 0


def judge(config: ConfigDict, inputs: Inputs, stopping: Stopping) -> Judged:
    """Scores what was opened.

    Args:
        config: as made by `configs/evaluate.py`.
        inputs: from `open_inputs`.
        stopping: asked to stop between blocks.

    Raises:
        InputError: if nothing is left to score.
    """
    scores: dict[str, float] = {}
    remarks: list[str] = []

    def each(work: Callable[[Block], T], grid: Grid, what: str) -> Iterator[T]:
        return map_blocks(work, grid, what, config.num_workers, stopping)

    if inputs.pair is not None:
        part = _judge_labels(config, inputs, each)
        scores |= part.scores
        remarks += part.remarks
    if config.skeletons:
        part = _judge_skeletons(config, inputs)
        scores |= part.scores
        remarks += part.remarks
    if not scores:
        raise InputError(f"nothing can be scored: {'; '.join(remarks)}")
    return Judged(scores, remarks)


def score(table: Contingency, *, score_background: bool = False) -> dict[str, float]:
    """Returns all scores of instances that a table decides.

    Args:
        table: with the background of the truth.
        score_background: whether VOI and Rand judge it, too.
    """
    judged = table if score_background else table.without_background()
    partition = variation_of_information(judged) | adapted_rand(judged)
    if "voi" in partition and "arand" in partition:
        # CREMI's score of neurons, the geometric mean.
        partition["cremi_score"] = math.sqrt(partition["voi"] * max(partition["arand"], 0.0))
    objects = {
        "labels": int(np.count_nonzero(table.label_sizes()[0])),
        "segments": int(np.count_nonzero(table.segment_sizes()[0])),
    }
    matched = average_precision(table) | mean_average_precision(table)
    return partition | matched | foreground_overlap(table) | objects | {"voxels": table.voxels}


def map_blocks(
    work: Callable[[Block], T], grid: Grid, what: str, num_workers: int, stopping: Stopping
) -> Iterator[T]:
    """Yields the result of each block in the order of the grid, and shows how far it is.

    Args:
        work: reads and counts a block.
        grid: of blocks.
        what: is being done.
        num_workers: threads; numpy and reading let others work.
        stopping: no other block is begun once it is asked to.

    Raises:
        _Stopped: once it was asked to.
    """
    progress = BlockProgress(what, len(grid), 0, grid.outer.volume, shown=len(grid) > 1)
    waiting: deque[tuple[int, concurrent.futures.Future[T]]] = deque()
    blocks = iter(grid)
    try:
        with concurrent.futures.ThreadPoolExecutor(num_workers, thread_name_prefix="block") as pool:
            while True:
                while len(waiting) <= num_workers and (block := next(blocks, None)) is not None:
                    waiting.append((block.core.volume, pool.submit(work, block)))
                if not waiting:
                    return
                voxels, future = waiting.popleft()
                while not future.done():
                    # A signal's handler runs only while this thread does not wait in C.
                    concurrent.futures.wait([future], timeout=0.5)
                if stopping.requested:
                    pool.shutdown(cancel_futures=True)
                    raise _Stopped
                progress.update(voxels)
                yield future.result()
    finally:
        progress.close()


def _judge_labels(config: ConfigDict, inputs: Inputs, each: Callable) -> Judged:
    """Scores against labels."""
    pair, voxel_nm, box = inputs.pair, inputs.voxel_nm, inputs.box
    clefts, instances = config.kind == "clefts", config.kind == "instances"
    tolerance, remarks = (None, []) if clefts else _boundary_tolerance(config, voxel_nm)
    surfaces = clefts and voxel_nm is not None
    if clefts and not surfaces:
        remarks.append(
            "no cleft distances: no voxel size is known; add ?voxel_nm=Z,Y,X to the address of the labels"
        )
    grid = Grid(box, _block_size(config, box), tolerance.halo if tolerance else (0, 0, 0))

    def count(block: Block) -> Counts:
        return count_block(
            pair, block, tolerance=tolerance, of_foreground=not instances, surfaces=surfaces
        )

    tables, boundaries, true_surfaces, found_surfaces = _Sum(), BoundaryCounts(), [], []
    for part in each(count, grid, "evaluate"):
        tables.add(part.table)
        if tolerance:
            boundaries = BoundaryCounts.total((boundaries, part.boundaries))
        if surfaces:
            true_surfaces.append(part.true_surface)
            found_surfaces.append(part.found_surface)
    table = tables.total()
    if not table.voxels:
        raise InputError(
            f"every voxel of {inputs.labels.name} in {box} is ignored or masked: nothing can be scored; check "
            "ignore_ids and mask"
        )
    if instances:
        scores = score(table, score_background=config.score_background)
    else:
        scores = foreground_overlap(table) | {"voxels": table.voxels}
        # Two are foreground and background, whatever their ids.
        if config.kind == "semantic" and 2 < len(table.label_sizes()[0]) <= _MOST_CLASSES:
            scores |= class_overlap(table)
    scores |= boundaries.scores()
    if surfaces:
        to_true, to_found = (Nearest(s, voxel_nm) for s in (true_surfaces, found_surfaces))

        def measure(block: Block) -> tuple[Distances, Distances]:
            true, found = pair.foregrounds(block.core)
            start = block.core.start
            return to_true.measure(found, true, start), to_found.measure(true, found, start)

        pairs = list(each(measure, grid, "distances"))
        distances = cleft_scores(*(Distances.total(column) for column in zip(*pairs, strict=True)))
        scores |= distances
        if not distances:
            remarks.append(f"no cleft distances: labels or segmentation have no cleft in {box}")
    return Judged(scores, [*_about_ids(config, inputs, table), *remarks])


def _boundary_tolerance(
    config: ConfigDict, voxel_nm: Triple | None
) -> tuple[BoundaryTolerance, list[str]]:
    """Returns how boundaries are judged, and says so."""
    size = voxel_nm or (1.0, 1.0, 1.0)
    in_sections = size[0] >= _ANISOTROPIC * min(size[1:])
    most = config.boundary_tolerance * min(size)
    unit = "nm" if voxel_nm else "voxels, of unknown size and taken as cubes"
    where = "within sections" if in_sections else "in 3D"
    tolerance = BoundaryTolerance(most, size, in_sections)
    return tolerance, [f"boundaries {where}, right within {most:g} {unit}"]


def _judge_skeletons(config: ConfigDict, inputs: Inputs) -> Judged:
    """Scores against skeletons."""
    if inputs.voxel_nm is None:
        reason = "no voxel size is known; add ?voxel_nm=Z,Y,X to the address of the segmentation"
        return Judged({}, [f"no run length: {reason}"])
    box = inputs.box
    # Their coordinates count from the first voxel of the file that the truth is in, whatever part of it is scored.
    origin = np.asarray((inputs.labels or inputs.segmentation).box.start)
    grid = Grid(box, _block_size(config, box))
    kept, segments, outside = [], [], 0
    for skeleton in inputs.skeletons:
        voxels = voxels_of(skeleton, inputs.voxel_nm) - origin
        inside = ((voxels >= box.start) & (voxels < box.stop)).all(axis=1)
        outside += int(np.count_nonzero(~inside))
        kept.append(skeleton.keep(inside))
        segments.append(look_up(voxels[inside], inputs.segmentation.read, grid))
    points = sum(len(ids) for ids in segments)
    remark = f"skeletons: {len(kept):,} neurons, {points:,} points in the scored part, {outside:,} outside are left out"
    scores = expected_run_length(kept, segments, config.skeleton_merge_points)
    if not scores:
        remark += "; no run length: no edge lies in it; check skeleton_unit_nm and the voxel size"
    return Judged(scores, [remark])


class _Sum:
    """Adds up tables as they come, so that neither many are kept nor the whole is added to for every block."""

    def __init__(self) -> None:
        self._tables, self._rows = [], 0

    def add(self, table: Contingency) -> None:
        self._tables.append(table)
        self._rows += len(table.counts)
        if self._rows > 2 * len(self._tables[0].counts) + 100_000:
            self._tables = [Contingency.total(self._tables)]
            self._rows = 0

    def total(self) -> Contingency:
        return Contingency.total(self._tables)


def _about_ids(config: ConfigDict, inputs: Inputs, table: Contingency) -> list[str]:
    """Returns what was background, and what was left out."""
    pair = inputs.pair
    background = ", ".join(map(str, sorted({0, *pair.background_ids})))
    ignored = ", ".join(map(str, pair.ignore_ids)) or "none named"
    left_out = inputs.box.volume - table.voxels
    how = ""
    if config.kind == "instances":
        scored = "scored as one object" if config.score_background else "not scored by VOI and Rand"
        how = (
            f" ({scored}); segment 0 counts as one segment in VOI and Rand, and is no object in AP"
        )
    return [
        f"{table.voxels:,} voxels scored, {left_out:,} left out as unknown or masked; ignored ids: {ignored}; negative "
        "ids and the largest uint64 always are, unless they are background",
        f"background of the labels: {background}{how}",
    ]


def _block_size(config: ConfigDict, box: Box) -> tuple[int, int, int]:
    return tuple(config.block_size) or tuple(map(min, _BLOCK, box.size))
