"""From what blocks found to scores, and what has to be said with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.blocks.parts import write_part
from emjax.blocks.passes import BlockPasses
from emjax.blocks.running_total import RunningTotal
from emjax.errors import InputError
from emjax.evaluation.boundaries import BoundaryCounts, BoundaryTolerance
from emjax.evaluation.clefts import Distances, cleft_scores
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.counting import Counts
from emjax.evaluation.cremi import CremiBorders, cremi_scores
from emjax.evaluation.instances import score_instances
from emjax.evaluation.overlap import (
    class_dice,
    class_overlap,
    confusion_matrix,
    foreground_overlap,
)
from emjax.evaluation.run_length import blocks_of, expected_run_length, voxels_of
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size, Triple
from emjax.jobs.evaluate.inputs import Inputs
from emjax.jobs.evaluate.passes import CountPairs, LookUpPoints, MeasureClefts
from emjax.jobs.evaluate.settings import Settings

# Voxels that are counted at a time.
_BLOCK = (32, 512, 512)
# A voxel so many times longer along z than in the plane: annotators drew sections, and so boundaries are judged.
_ANISOTROPIC = 2.0
# More ids than this are no classes.
_MOST_CLASSES = 64


class Judged(NamedTuple):
    """Scores, and what has to be said with them.

    Attributes:
        scores: name in `results.json` -> number.
        remarks: what is absent and why, what was left out and how it was judged.
        table: voxels that objects and segments share; None where there are no labels.
        confusion: ids of classes, and voxels of each pair, see `emjax.evaluation.overlap.confusion_matrix`.
    """

    scores: dict[str, float]
    remarks: list[str]
    table: Contingency | None = None
    confusion: tuple[np.ndarray, np.ndarray] | None = None


def judge(settings: Settings, inputs: Inputs, passes: BlockPasses) -> Judged:
    """Scores what was opened.

    Args:
        settings: how to score.
        inputs: from `open_inputs`.
        passes: over blocks.

    Raises:
        InputError: if nothing is left to score.
        Interrupted: if the process was asked to stop.
    """
    scores: dict[str, float] = {}
    remarks = list(inputs.remarks)
    table, confusion = None, None
    if inputs.labels is not None:
        part = _judge_labels(settings, inputs, passes)
        table = part.table
        scores |= part.scores
        remarks += part.remarks
        confusion = part.confusion
    if settings.skeletons:
        part = _judge_skeletons(settings, inputs, passes)
        scores |= part.scores
        remarks += part.remarks
    if not scores:
        raise InputError(f"nothing can be scored: {'; '.join(remarks)}")
    return Judged(scores, remarks, table, confusion)


def _judge_labels(settings: Settings, inputs: Inputs, passes: BlockPasses) -> Judged:
    """Scores against labels."""
    voxel_nm, box = inputs.voxel_nm, inputs.box
    clefts, instances = settings.kind == "clefts", settings.kind == "instances"
    tolerance, remarks = (None, []) if clefts else _boundary_tolerance(settings, voxel_nm)
    surfaces = clefts and voxel_nm is not None
    if clefts and not surfaces:
        remarks.append(
            "no cleft distances: no voxel size is known; add ?voxel_nm=Z,Y,X to the address of the labels"
        )
    borders, said = _cremi_borders(settings, voxel_nm) if instances else (None, [])
    remarks += said
    halos = [part.halo for part in (tolerance, borders) if part is not None]
    halo = tuple(max(sides) for sides in zip((0, 0, 0), *halos, strict=True))
    grid = Grid(box, _block_size(settings, box), halo)
    folder = passes.path("evaluate")
    count = CountPairs(inputs.source, folder, borders, tolerance, not instances, surfaces)
    passes.run("evaluate", grid, count)
    sums, far, boundaries = RunningTotal(Contingency), RunningTotal(Contingency), BoundaryCounts()
    for arrays in passes.parts("evaluate", range(len(grid))):
        part = Counts.from_arrays(arrays)
        sums.add(part.table)
        if part.far is not None:
            far.add(part.far)
        if part.boundaries is not None:
            boundaries = BoundaryCounts.total((boundaries, part.boundaries))
    table = sums.total()
    name = inputs.labels.name if inputs.labels else inputs.segmentation.name
    if not table.voxels:
        raise InputError(
            f"every voxel of {name} in {box} is ignored or masked: nothing can be scored; check "
            "ignore_ids and mask"
        )
    if not table.without_background().voxels:
        raise InputError(
            f"{name} has no object in {box}: all of its {table.voxels:,} known voxels are background, and nothing can "
            "be scored; check the address, the box, and ?background= and ?ignore="
        )
    if not (table.segments > 0).any():
        remarks.append(
            f"the segmentation {inputs.segmentation.name} has no segment in {box}: all objects are missed"
        )
    confusion = None
    if instances:
        scores = score_instances(table, score_background=settings.score_background)
        away = far.total()
        cremi = cremi_scores(away if settings.score_background else away.without_background())
        scores |= cremi
        if borders is not None and not cremi:
            remarks.append(
                f"no CREMI score: no voxel is farther than {settings.cremi_border_nm:g} nm from a border of the labels"
            )
    else:
        scores = foreground_overlap(table) | {"voxels": table.voxels}
        # Two are foreground and background, whatever their ids, but in what says that it is a map of classes.
        classes = len(table.label_sizes()[0])
        if settings.kind == "semantic" and classes <= _MOST_CLASSES:
            if inputs.classes or classes > 2:
                scores |= class_overlap(table) | class_dice(table)
                confusion = _confusion(table, remarks)
    scores |= boundaries.scores()
    if surfaces:
        distances = _judge_clefts(inputs, passes, grid)
        scores |= distances
        if not distances:
            remarks.append(f"no cleft distances: labels or segmentation have no cleft in {box}")
    return Judged(scores, [*_about_ids(settings, inputs, table), *remarks], table, confusion)


def _confusion(table: Contingency, remarks: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns who is taken for whom; None, and a remark, where the segmentation is of objects, not of classes."""
    found = len(table.segment_sizes()[0])
    if found <= _MOST_CLASSES:
        return confusion_matrix(table)
    remarks.append(
        f"no confusion of classes: the segmentation has {found:,} ids, more than the {_MOST_CLASSES} that classes have "
        "at most"
    )
    return None


def _judge_clefts(inputs: Inputs, passes: BlockPasses, grid: Grid) -> dict[str, float]:
    """Measures the distances of clefts."""
    kept: dict[str, list[np.ndarray]] = {"true_surface": [], "found_surface": []}
    for arrays in passes.parts("evaluate", range(len(grid))):
        for name, surfaces in kept.items():
            surfaces.append(arrays[name])
    path = passes.path("surfaces.npz")
    write_part(path, {name: np.concatenate(surfaces) for name, surfaces in kept.items()})
    # Without it there are no surfaces.
    assert inputs.voxel_nm is not None
    measure = MeasureClefts(inputs.source, passes.path("distances"), path, inputs.voxel_nm)
    passes.run("distances", grid, measure)
    sums = {"found_to_true": Distances(), "true_to_found": Distances()}
    for arrays in passes.parts("distances", range(len(grid))):
        for name, distances in sums.items():
            sums[name] = Distances.total((distances, Distances.from_array(arrays[name])))
    return cleft_scores(sums["found_to_true"], sums["true_to_found"])


def _boundary_tolerance(
    settings: Settings, voxel_nm: Triple | None
) -> tuple[BoundaryTolerance, list[str]]:
    """Returns how boundaries are judged, and says so."""
    size = voxel_nm or (1.0, 1.0, 1.0)
    in_sections = size[0] >= _ANISOTROPIC * min(size[1:])
    most = settings.boundary_tolerance * min(size)
    unit = "nm" if voxel_nm else "voxels, of unknown size and taken as cubes"
    where = "within sections" if in_sections else "in 3D"
    tolerance = BoundaryTolerance(most, size, in_sections)
    return tolerance, [f"boundaries {where}, right within {most:g} {unit}"]


def _cremi_borders(
    settings: Settings, voxel_nm: Triple | None
) -> tuple[CremiBorders | None, list[str]]:
    """Returns the borders that CREMI's score leaves out, and says so."""
    if voxel_nm is None:
        return None, [
            "no CREMI score: no voxel size is known; add ?voxel_nm=Z,Y,X to the address of the labels"
        ]
    nm = settings.cremi_border_nm
    left_out = f"without voxels within {nm:g} nm of a border in the section, and " if nm else ""
    return CremiBorders(nm, voxel_nm), [
        f"CREMI score: {left_out}with each voxel of segment 0 a segment of its own in its Rand error"
    ]


def _judge_skeletons(settings: Settings, inputs: Inputs, passes: BlockPasses) -> Judged:
    """Scores against skeletons."""
    if inputs.voxel_nm is None:
        reason = "no voxel size is known; add ?voxel_nm=Z,Y,X to the address of the segmentation"
        return Judged({}, [f"no run length: {reason}"])
    box = inputs.box
    # Their coordinates count from the first voxel of the whole, whatever part of it is scored.
    origin = np.rint(inputs.place).astype(np.int64)
    kept, inner, outside = [], [], 0
    for skeleton in inputs.skeletons:
        voxels = voxels_of(skeleton, inputs.voxel_nm) - origin
        inside: np.ndarray = np.all((voxels >= box.start) & (voxels < box.stop), axis=1)
        outside += int(np.count_nonzero(~inside))
        kept.append(skeleton.keep(inside))
        inner.append(voxels[inside])
    points = np.concatenate(inner)
    ids = _look_up(inputs, passes, points, Grid(box, _block_size(settings, box)))
    segments = np.split(ids, np.cumsum([len(voxels) for voxels in inner[:-1]]))
    remark = (
        f"skeletons: {len(kept):,} neurons, {len(points):,} points in the scored part, {outside:,} outside are left "
        "out"
    )
    scores = expected_run_length(kept, segments, settings.skeleton_merge_points)
    if not scores:
        remark += "; no run length: no edge lies in it; check skeleton_unit and the voxel size"
    return Judged(scores, [remark])


def _look_up(inputs: Inputs, passes: BlockPasses, voxels: np.ndarray, grid: Grid) -> np.ndarray:
    """Returns the ids at voxels `[n, 3]`, `[n]` uint64."""
    blocks = blocks_of(voxels, grid)
    order = np.argsort(blocks, kind="stable")
    path = passes.path("points.npz")
    write_part(path, {"voxels": voxels[order], "blocks": blocks[order]})
    visited = np.unique(blocks).tolist()
    look_up = LookUpPoints(inputs.source, passes.path("skeletons"), path)
    passes.run("skeletons", grid, look_up, visited)
    ids = np.zeros(len(voxels), np.uint64)
    found = [part["ids"] for part in passes.parts("skeletons", visited)]
    ids[order] = np.concatenate([ids[:0], *found])
    return ids


def _about_ids(settings: Settings, inputs: Inputs, table: Contingency) -> list[str]:
    """Returns what was background, and what was left out."""
    source = inputs.source
    background = ", ".join(map(str, sorted({0, *source.label_ids.background})))
    ignored = ", ".join(map(str, source.label_ids.ignore)) or "none named"
    left_out = inputs.box.volume - table.voxels
    how = ""
    if settings.kind == "instances":
        scored = (
            "scored as one object" if settings.score_background else "not scored by VOI and Rand"
        )
        how = (
            f" ({scored}); segment 0 counts as one segment in VOI and Rand, and is no object in AP"
        )
    return [
        f"{table.voxels:,} voxels scored, {left_out:,} left out as unknown or masked; ignored ids: {ignored}; negative "
        "ids and the largest uint64 always are, unless they are background",
        f"background of the labels: {background}{how}",
    ]


def _block_size(settings: Settings, box: Box) -> Size:
    return settings.shared.block_size or tuple(map(min, _BLOCK, box.size))
