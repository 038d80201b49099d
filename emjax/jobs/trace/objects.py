"""Traces objects of a segmentation: a tree for each, and a table of their lengths and radii."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from etils import epath

from emjax.blocks.block_size import whole_chunks
from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.output import check_apart
from emjax.blocks.progress import BlockProgress
from emjax.blocks.running_total import RunningTotal
from emjax.errors import InputError, reason
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.jobs.trace.settings import Settings
from emjax.jobs.trace.stacks import in_voxels, relative_spacing
from emjax.objects.measure import ObjectSums, lower_halo, measure_block
from emjax.runs.folder import RESULTS_FILE, write_results
from emjax.runs.memory import peak_rss_bytes
from emjax.runs.whole_file import open_whole
from emjax.skeletons.branches import measure_trees
from emjax.skeletons.precomputed import write_info, write_skeleton
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import write_swc
from emjax.skeletons.unit import VOXELS
from emjax.tracing.stack import FULL, Stack, check_memory, inner_depth
from emjax.volumes.address import local_path
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.roles import open_ids
from emjax.volumes.volume import Volume

OBJECTS, PRECOMPUTED = "objects.parquet", "precomputed"
# Voxels that are looked through at a time for where objects are, and a chunk where its size is not known.
_BLOCK_VOXELS, _CHUNK = 1 << 24, (32, 256, 256)
_CORNERS = ("z0", "y0", "x0", "z1", "y1", "x1")
_COLUMNS = {
    "length_um": pa.float64(),
    "mean_radius_nm": pa.float64(),
    "branch_points": pa.int64(),
    "tips": pa.int64(),
}


class _Place(NamedTuple):
    """An object: its id, the box that it lies in, in voxels of the volume, and how many voxels it has."""

    number: int
    box: Box
    voxels: int


def trace_objects(
    settings: Settings, continued: bool, open_folder: Callable[[], epath.Path]
) -> int:
    """Traces objects, and writes `ID.swc` and a `precomputed` folder to the output, and a table to the run folder.

    Args:
        settings: how to trace.
        continued: whether the run folder is of this configuration already, so that the output is its own.
        open_folder: opens the run folder for this configuration.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the segmentation cannot be traced.
    """
    volume = _open(settings, continued)
    table = _read_table(settings.objects) if settings.objects else None
    places = _of_table(table, volume) if table is not None else _find(volume)
    chosen = _choose(settings, places, volume)
    for place in chosen:
        check_memory(place.box.size, f"object {place.number}")
    folder = Path(os.fspath(open_folder()))
    output = local_path(settings.output)
    unit = settings.swc_unit(True)
    write_info(output / PRECOMPUTED)
    shown = BlockProgress(
        "trace", len(chosen), 0, sum(p.box.volume for p in chosen), pieces=("object", len(chosen))
    )
    found: dict[int, dict[str, float]] = {}
    try:
        for place in chosen:
            tree = _trace(volume, place, settings)
            nm = VOXELS.in_nm(tree, volume.voxel_nm)
            comments = [f"object {place.number} of {volume.name}, traced by emjax"]
            written = unit.from_voxels(tree, volume.voxel_nm)
            write_swc(output / f"{place.number}.swc", written, unit, comments)
            write_skeleton(output / PRECOMPUTED, place.number, nm)
            found[place.number] = _measure(nm)
            shown.piece(1)
    finally:
        shown.close()
    _write_table(folder / OBJECTS, table, found)
    total = sum(values["length_um"] for values in found.values())
    results = {
        "objects": len(found),
        "length_nm": total * 1000,
        "branch_points": sum(int(values["branch_points"]) for values in found.values()),
        "tips": sum(int(values["tips"]) for values in found.values()),
        "peak_rss_bytes": peak_rss_bytes(),
    }
    write_results(folder, results)
    lines = [
        f"{len(found):,} objects, {total:,.4g} um, {results['branch_points']:,} branch points, "
        f"{results['tips']:,} tips",
        f"skeletons    {output}/ID.swc   (unit {unit.name})",
        f"neuroglancer precomputed://file://{(output / PRECOMPUTED).absolute()}",
        f"table        {folder / OBJECTS}",
        f"results      {folder / RESULTS_FILE}",
    ]
    print("\n".join(lines), flush=True)
    return 0


def _open(settings: Settings, continued: bool) -> Volume:
    volume = open_ids(settings.input, "input")
    refuse_incomplete(volume.address, "input", settings.allow_incomplete)
    if volume.voxel_nm is None:
        raise InputError(
            f"input {volume.name} does not say the size of its voxels; add ?voxel_nm=Z,Y,X (nm) to its address"
        )
    check_apart(settings.output, {"input": volume.address, "objects": settings.objects})
    output = local_path(settings.output)
    if output.suffix.lower() == ".swc":
        raise InputError(
            f"output={settings.output}: objects are written to a folder; give its name"
        )
    there = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if there and not (settings.overwrite or continued):
        raise InputError(
            f"{output} exists; give --config.overwrite=true to replace what is in it, or another output"
        )
    return volume.crop(Box.from_text(settings.box, volume.size)) if settings.box else volume


def _find(volume: Volume) -> list[_Place]:
    """Returns where objects are, block by block through the whole volume."""
    outer = Box((0, 0, 0), volume.size)
    chunk = read_sides(volume.store)[-3:]
    size = whole_chunks(volume.size, chunk if all(chunk) else _CHUNK, _BLOCK_VOXELS)
    label_ids, sums = LabelIds.of(volume.address), RunningTotal(ObjectSums)
    grid = Grid(outer, size)
    shown = BlockProgress("find", len(grid), 0, outer.volume, pieces=("block", len(grid)))
    for block in grid:
        read = lower_halo(block.core, outer)
        objects, _ = measure_block(volume.read(read), read, block.core, outer, label_ids=label_ids)
        sums.add(objects)
        shown.piece(1)
    shown.close()
    total = sums.total()
    rows = zip(
        total.ids.tolist(),
        total.start.tolist(),
        total.stop.tolist(),
        total.voxels.tolist(),
        strict=True,
    )
    return [_Place(i, Box.between(tuple(a), tuple(b)), n) for i, a, b, n in rows]


def _read_table(path: str) -> Any:
    try:
        table = pq.read_table(local_path(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"objects={path} cannot be read: {reason(error)}") from error
    missing = [name for name in ("id", "voxels", *_CORNERS) if name not in table.column_names]
    if missing:
        raise InputError(
            f"objects={path} has no column {missing[0]}; give the objects.parquet that configs/objects.py wrote"
        )
    return table


def _of_table(table: Any, volume: Volume) -> list[_Place]:
    """Returns where a table says that objects are, as far as that is in the volume."""
    corners = np.stack([table[name].to_numpy() for name in _CORNERS], axis=1) - np.tile(
        volume.box.start, 2
    )
    whole, places = Box((0, 0, 0), volume.size), []
    for number, row, voxels in zip(
        table["id"].to_pylist(), corners.tolist(), table["voxels"].to_pylist(), strict=True
    ):
        box = Box.between(tuple(row[:3]), tuple(row[3:])).intersect(whole) if voxels else None
        if box is not None:
            places.append(_Place(number, box, voxels))
    return places


def _choose(settings: Settings, places: Sequence[_Place], volume: Volume) -> list[_Place]:
    """Returns the objects that are traced."""
    known = {place.number: place for place in places}
    if settings.chosen_ids is None:
        chosen = [place for place in places if place.voxels >= settings.min_voxels]
        if not chosen:
            raise InputError(
                f"input {volume.name} has no object of {settings.min_voxels} voxels (min_voxels); check the address "
                "and the box"
            )
        return chosen
    missing = [i for i in settings.chosen_ids if i not in known]
    if missing:
        raise InputError(
            f"ids={settings.ids}: input {volume.name} has no object {missing[0]}; it has {len(known):,} objects, such "
            f"as {', '.join(map(str, [*known][:5])) or 'none'}"
        )
    return [known[i] for i in settings.chosen_ids]


def _trace(volume: Volume, place: _Place, settings: Settings) -> Skeleton:
    """Returns the trees of an object, in voxels of the whole."""
    # A voxel around it, so that its surface is seen; the border of the volume is none.
    low = tuple(max(0, a - 1) for a in place.box.start)
    high = tuple(min(a + 1, n) for a, n in zip(place.box.stop, volume.size, strict=True))
    part = volume.crop(Box.between(low, high))
    mask = part.read(Box((0, 0, 0), part.size)) == place.number
    spacing = relative_spacing(volume.voxel_nm)
    stack = Stack(mask.astype(np.uint8) * np.uint8(FULL), mask, inner_depth(mask, spacing), spacing)
    made = settings.tracer("teasar").trace(stack)
    if not len(made.edges):
        logging.info("object %d: a point, nothing is longer than prune", place.number)
    return in_voxels(made, part)


def _measure(nm: Skeleton) -> dict[str, float]:
    """Returns the columns of a tree; the mean radius is over its length."""
    shape, lengths = measure_trees(nm), nm.edge_lengths
    radii = nm.radii[nm.edges].mean(axis=1) if len(lengths) else nm.radii
    weights = lengths if lengths.sum() else None
    return {
        "length_um": shape["length"] / 1000,
        "mean_radius_nm": float(np.average(radii, weights=weights)),
        "branch_points": int(shape["branch_points"]),
        "tips": int(shape["tips"]),
    }


def _write_table(path: Path, table: Any, found: dict[int, dict[str, float]]) -> None:
    """Writes the table of objects with further columns, empty for those that were not traced; or these alone."""
    if table is None:
        table = pa.table({"id": pa.array([*found], pa.uint64())})
    rows = [found.get(number, {}) for number in table["id"].to_pylist()]
    for name, kind in _COLUMNS.items():
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, pa.array([row.get(name) for row in rows], kind))
    with open_whole(path) as file:
        pq.write_table(table, file, compression="zstd")
