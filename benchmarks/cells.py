"""What cells cost in quality: every method in one cell, in 8 and in 36 cells, on predictions that are known.

    python benchmarks/cells.py --labels fib25_ts2.h5:labels --boundary gala_fib_train.h5:p1 \
        --boundary_labels gala_fib_train.h5:labels --results runs/cells.json [--methods mutex] [--seconds 300]
    python benchmarks/cells.py --results runs/cells.json --table

Predictions are made of labels ('perfect'; 'wrong': 0.1 % of the voxels of each channel are inverted; 'blurred': with
a Gaussian of one voxel), and of a boundary map that a classifier predicted ('predicted'), at 10x10x10 nm and, of every
fourth section, at 40x10x10 nm. Each row is the public job `segment` with its default settings, and is written to
`--results` when it is done; rows that are there are not made again, so that the command can be stopped, and several can
work on one file.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from configs.segment import get_config
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.partition import adapted_rand, variation_of_information
from emjax.jobs import segment
from emjax.runs.whole_file import write_whole
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

METHODS = (
    "agglomerate",
    "multicut",
    "mutex",
    "contour",
    "distance",
    "affinity_components",
    "components",
)
INPUTS = ("perfect", "wrong", "blurred", "predicted")
VOXELS = {"10x10x10": (10.0, 10.0, 10.0), "40x10x10": (40.0, 10.0, 10.0)}
# Cells along z, y and x.
CELLS = {"1": (1, 1, 1), "8": (2, 2, 2), "36": (3, 3, 4)}
# Of labels; enough for objects that span several cells, and small enough for 168 rows in minutes.
SHAPES = {"10x10x10": (48, 128, 128), "40x10x10": (24, 160, 160)}
# Objects of fewer voxels are specks.
SPECK = 50
Row = tuple[str, str, str, str]


def main() -> None:
    """Makes the rows that are missing, or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", default="", help="address of labels at 10x10x10 nm")
    parser.add_argument("--boundary", default="", help="address of a predicted boundary, 10 nm")
    parser.add_argument("--boundary_labels", default="", help="address of its labels")
    parser.add_argument("--results", required=True, help="JSON of the rows")
    parser.add_argument("--table", action="store_true", help="print the rows as Markdown")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--inputs", nargs="+", default=INPUTS, choices=INPUTS)
    parser.add_argument("--voxels", nargs="+", default=list(VOXELS), choices=VOXELS)
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=CELLS)
    parser.add_argument("--seconds", type=float, default=np.inf, help="begin no row after these")
    options = parser.parse_args()
    if options.table:
        print(table(read_rows(options.results)))
        return
    began = time.monotonic()
    wanted = itertools.product(options.methods, options.inputs, options.voxels, options.cells)
    for row in wanted:
        if "/".join(row) in read_rows(options.results):
            continue
        if time.monotonic() - began > options.seconds:
            print("stopped; the same command goes on")
            return
        scores = measure(row, options.labels, options.boundary, options.boundary_labels)
        add_row(options.results, row, scores)
        print("/".join(row), json.dumps(scores), flush=True)


def measure(row: Row, labels: str, boundary: str, boundary_labels: str) -> dict[str, float]:
    """Segments one prediction in one number of cells, and scores it."""
    method, kind, nm, cells = row
    voxel_nm = VOXELS[nm]
    step = int(voxel_nm[0] // voxel_nm[1])
    if kind == "predicted":
        truth = _read(boundary_labels)[::step]
        channels = from_boundary(_read(boundary)[::step], method, step)
    else:
        depth, height, width = SHAPES[nm]
        truth = _read(labels)[: depth * step : step, :height, :width]
        channels = from_labels(truth, method, step)
        channels = [
            (name, offset, _spoilt(kind, values, step)) for name, offset, values in channels
        ]
    folder = tempfile.mkdtemp()
    try:
        array = np.stack([np.round(np.clip(v, 0, 1) * 255).astype(np.uint8) for *_, v in channels])
        attributes = {
            "targets": [name for name, *_ in channels],
            "offsets": [offset for _, offset, _ in channels],
            "scale": 1 / 255,
            "checkpoint": "none",
        }
        store = create_volume(f"{folder}/input.zarr", array.shape, "uint8", voxel_nm, attributes)
        store.write(array).result()
        config = get_config()
        config.input, config.output = f"{folder}/input.zarr", f"{folder}/output.zarr"
        config.method = method
        if cells != "1":
            sides = zip(truth.shape, CELLS[cells], strict=True)
            config.fragment_size = tuple(-(-n // parts) for n, parts in sides)
        began = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            segment.run(config, f"{folder}/run")
        seconds = time.process_time() - began
        found = np.asarray(open_volume(config.output).store.read().result())
    finally:
        shutil.rmtree(folder)
    return score(truth, found) | {"seconds": round(seconds, 2)}


def score(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Returns scores of the labelled voxels, and the numbers of objects and specks."""
    known = truth > 0
    pairs = Contingency.from_arrays(truth[known].reshape(1, 1, -1), found[known].reshape(1, 1, -1))
    voi, sizes = variation_of_information(pairs), np.unique(found[found > 0], return_counts=True)[1]
    return {
        **{name: round(voi[name], 4) for name in ("voi", "voi_split", "voi_merge")},
        "arand": round(adapted_rand(pairs)["arand"], 4),
        "objects": len(sizes),
        "specks": int((sizes < SPECK).sum()),
    }


def offsets_of(method: str, step: int) -> list[tuple[int, int, int]]:
    """Offsets of the affinities that a method reads: the nearest, for mutex also those of 3 and 9 voxels of 10 nm."""
    lengths = (1, 3, 9) if method == "mutex" else (1,)
    found = []
    for length in lengths:
        for axis in range(3):
            along = max(1, round(length / step)) if axis == 0 else length
            offset = tuple(-along if a == axis else 0 for a in range(3))
            if offset not in found:
                found.append(offset)
    return found


def from_labels(labels: np.ndarray, method: str, step: int) -> list[tuple[str, Any, np.ndarray]]:
    """Returns (name, offset, values) of the channels of a perfect prediction for a method."""
    if method in ("agglomerate", "multicut", "mutex", "affinity_components"):
        channels = []
        for offset in offsets_of(method, step):
            here, there = _shifted(offset)
            values = np.zeros(labels.shape, np.float32)
            values[here] = (labels[here] == labels[there]) & (labels[here] > 0)
            channels.append(("affinity", offset, values))
        return channels
    edge = np.zeros(labels.shape, bool)
    for axis in range(1 if step > 1 else 0, 3):
        offset = tuple(-1 if a == axis else 0 for a in range(3))
        here, there = _shifted(offset)
        differs = labels[here] != labels[there]
        edge[here] |= differs
        edge[there] |= differs
    if method == "components":
        return [("foreground", None, ((labels > 0) & ~edge).astype(np.float32))]
    return _with_distance(labels > 0, edge.astype(np.float32), labels, method, step)


def from_boundary(
    boundary: np.ndarray, method: str, step: int
) -> list[tuple[str, Any, np.ndarray]]:
    """Returns (name, offset, values) of the channels that a predicted boundary implies for a method."""
    boundary = np.clip(boundary.astype(np.float32), 0, 1)
    if method in ("agglomerate", "multicut"):
        return [("membrane", None, boundary)]
    if method in ("mutex", "affinity_components"):
        channels = []
        for offset in offsets_of(method, step):
            here, there = _shifted(offset)
            values = np.zeros(boundary.shape, np.float32)
            worst = np.maximum(boundary[here], boundary[there])
            axis = next(a for a in range(3) if offset[a])
            # The highest boundary between the two voxels.
            for between in range(1, -offset[axis]):
                whole = boundary[_moved(here, axis, -between)]
                worst = np.maximum(worst, whole)
            values[here] = 1 - worst
            channels.append(("affinity", offset, values))
        return channels
    if method == "components":
        return [("foreground", None, 1 - boundary)]
    inside = ndimage.label(boundary < 0.5)[0]
    return _with_distance(1 - boundary, boundary, inside, method, step)


def _with_distance(
    foreground: np.ndarray, edge: np.ndarray, objects: np.ndarray, method: str, step: int
) -> list[tuple[str, Any, np.ndarray]]:
    """Returns foreground and contour, or foreground and the distance to the edge, 1 at its highest in an object."""
    if method == "contour":
        return [("foreground", None, foreground), ("contour", None, edge)]
    distance = ndimage.distance_transform_edt((edge < 0.5) & (objects > 0), sampling=(step, 1, 1))
    ids = np.unique(objects)
    highest = np.maximum(ndimage.maximum(distance, objects, ids), 1)
    scaled = distance / highest[np.searchsorted(ids, objects)]
    return [("foreground", None, foreground), ("distance", None, scaled)]


def _shifted(offset: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Returns slices of the voxels that have a partner at a negative offset, and of the partners."""
    here = tuple(slice(-o, None) for o in offset)
    there = tuple(slice(None, o or None) for o in offset)
    return here, there


def _moved(here: tuple[slice, ...], axis: int, by: int) -> tuple[slice, ...]:
    start = here[axis].start
    return (*here[:axis], slice(start + by, by), *here[axis + 1 :])


def _spoilt(kind: str, values: np.ndarray, step: int) -> np.ndarray:
    values = values.astype(np.float32)
    if kind == "wrong":
        wrong = np.random.default_rng(0).random(values.shape) < 0.001
        return np.where(wrong, 1 - values, values)
    return ndimage.gaussian_filter(values, (1 / step, 1, 1)) if kind == "blurred" else values


def _read(address: str) -> np.ndarray:
    return np.asarray(open_volume(address).store.read().result())


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(f"{path}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_rows(path: str) -> dict[str, dict[str, float]]:
    """Returns the rows that are done, by their names."""
    return json.loads(Path(path).read_text()) if os.path.exists(path) else {}


def add_row(path: str, row: Row, scores: dict[str, float]) -> None:
    """Adds a row to the file, whatever else is added by other processes at the same time."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with _locked(path):
        rows = read_rows(path) | {"/".join(row): scores}
        write_whole(path, json.dumps(rows, indent=1).encode())


def table(rows: dict[str, dict[str, float]]) -> str:
    """Returns a Markdown table: VOI / ARAND / specks in each number of cells."""
    columns = " | ".join(f"cells: {number}" for number in CELLS)
    lines = [
        f"| method | prediction | nm | {columns} |",
        "|---" * (3 + len(CELLS)) + "|",
    ]
    for name in itertools.product(METHODS, INPUTS, VOXELS):
        found = [rows.get("/".join((*name, cells))) for cells in CELLS]
        if not any(found):
            continue
        shown = [f"{r['voi']:.3f} / {r['arand']:.3f} / {r['specks']}" if r else "" for r in found]
        lines.append(f"| {' | '.join((*name, *shown))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
