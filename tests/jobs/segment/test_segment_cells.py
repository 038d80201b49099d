"""The job segment in cells beside one cell: branches, debris along faces, and the whole partition, for each method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from emjax.evaluation.contingency import Contingency
from emjax.evaluation.partition import variation_of_information
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import run_command

SHAPE = (24, 64, 64)
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-3, 0, 0], [0, -5, 0], [0, 0, -5]]
OBJECTS = ["foreground", "contour", "distance"]
METHODS = {
    "agglomerate": "plane=false",
    "multicut": "plane=false",
    "mutex": "threshold=0.0",
    "affinity_components": "threshold=0.5",
    "components": "threshold=0.5&min_size=20",
    "contour": "seed_foreground=0.5&seed_contour=0.5&threshold=0.5&min_seed_size=4&min_size=20",
    "distance": "seed_foreground=0.5&seed_distance=0.5&threshold=0.4&min_seed_size=4&min_size=20",
}


def _store(path: Path, channels: list, names: list, offsets: list, nm=(10, 10, 10)) -> Path:
    array = np.round(np.clip(np.stack(channels), 0, 1) * 255).astype(np.uint8)
    known = {"targets": names, "offsets": offsets, "scale": 1 / 255}
    create_volume(path, array.shape, np.uint8, nm, known).write(array).result()
    return path


def _channels(folder: Path, inside: np.ndarray, rng: np.random.Generator) -> None:
    """Writes noisy affinities, and foreground, contour and distance, of what is inside of objects."""
    affinities = []
    for offset in OFFSETS:
        both = np.minimum(inside, np.roll(inside, [-o for o in offset], (0, 1, 2)))
        affinities.append(0.1 + 0.8 * both + 0.05 * rng.standard_normal(SHAPE))
    _store(folder / "a.zarr", affinities, ["affinity"] * len(OFFSETS), OFFSETS)
    distance = np.minimum(ndimage.distance_transform_edt(inside) / 4, 1)
    _store(folder / "o.zarr", [inside, 1 - inside, distance], OBJECTS, [None] * 3)


@pytest.fixture(scope="module")
def tissue(tmp_path_factory) -> Path:
    """Objects of irregular forms, apart by membranes of some voxels."""
    folder, rng = tmp_path_factory.mktemp("tissue"), np.random.default_rng(1)
    points = rng.random((14, 3)) * SHAPE
    places = np.moveaxis(np.indices(SHAPE), 0, -1)
    away = np.sort(np.linalg.norm(places[..., None, :] - points, axis=-1), axis=-1)
    _channels(folder, (away[..., 1] - away[..., 0] > 3).astype(np.float32), rng)
    return folder


@pytest.fixture(scope="module")
def branches(tmp_path_factory) -> Path:
    """One object like a U, whose branches are apart in the last cells."""
    folder = tmp_path_factory.mktemp("branches")
    inside = np.zeros(SHAPE, np.float32)
    inside[4:20, 4:60, 6:18] = inside[4:20, 4:60, 44:56] = inside[4:20, 4:16, 6:56] = 1
    _channels(folder, inside, np.random.default_rng(2))
    return folder


def _segment(
    workdir: Path, folder: Path, method: str, settings: str = "", **fields: object
) -> np.ndarray:
    name = "o.zarr" if method in ("components", "contour", "distance") else "a.zarr"
    fields |= {"input": folder / name, "method": method, "settings": METHODS[method] + settings}
    assert (
        run_command("configs/segment.py", workdir / "r", fields | {"output": workdir / "s.zarr"})
        == 0
    )
    return open_volume(str(workdir / "s.zarr")).store.read().result()


def _specks(found: np.ndarray) -> int:
    return int((np.unique(found[found > 0], return_counts=True)[1] < 20).sum())


@pytest.mark.parametrize("method", METHODS)
def test_cells_are_as_good_as_one(tissue, tmp_path, method):
    one = _segment(tmp_path / "one", tissue, method)
    halo = {"halo": "8,12,12"}
    if method in ("components", "affinity_components", "mutex"):
        # The last needs a longer one: its default.
        halo = {}
    cells = _segment(tmp_path / "cells", tissue, method, fragment_size="12,24,32", **halo)
    voi = variation_of_information(Contingency.from_arrays(one, cells))["voi"]
    assert one.max() > 5 and voi < 0.02
    assert _specks(cells) <= _specks(one)


@pytest.mark.parametrize("method", METHODS)
def test_an_object_with_branches_stays_one(branches, tmp_path, method):
    halo = {} if method in ("components", "affinity_components") else {"halo": "4,8,8"}
    # Without a foreground, what lies between the branches is theirs as well, and is no part of one object.
    filled = "&foreground_threshold=0.5" if method in ("multicut", "mutex") else ""
    found = _segment(tmp_path, branches, method, filled, fragment_size="24,32,64", **halo)
    # The middle of each branch, and of what connects them.
    assert found[12, 50, 12] == found[12, 50, 50] == found[12, 10, 30] > 0
