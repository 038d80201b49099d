"""The job segment over blocks: the same result for any blocks and workers, and after any number of kills."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from emjax.segmentation.methods import decode
from emjax.segmentation.prediction import Prediction
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import read_refusal, run_command

SEGMENT = "configs/segment.py"
SHAPE = (24, 72, 72)
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1], [-3, 0, 0], [0, -5, 0], [0, 0, -5]]
# Cells that do not divide the volume; with them, blocks of 1, 8 and more of other sizes.
CELL = "8,20,24"
BLOCKS = ["24,72,72", "16,40,48", "8,20,24", "8,40,72"]
AFFINITY_METHODS = {
    "agglomerate": "plane=false&threshold=0.45",
    "multicut": "plane=false&beta=0.4&lifted=true",
    "affinity_components": "threshold=0.7",
    "mutex": "strides=1/2/2",
}
OBJECT_METHODS = {
    "components": "threshold=0.6&min_size=20&connectivity=26",
    "contour": "seed_foreground=0.6&seed_contour=0.5&threshold=0.5&min_seed_size=4&min_size=20",
    "distance": "seed_foreground=0.5&seed_distance=0.55&threshold=0.5&min_seed_size=4&small=neighbour&min_size=40",
}


def _smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), sigma)
    return (field - field.min()) / (field.max() - field.min())


@pytest.fixture(scope="module")
def predictions(tmp_path_factory) -> Path:
    """Affinities of a noisy membrane, and smooth foreground, contour and distance."""
    folder = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(3)
    membrane = np.abs(_smooth(rng, 4) - 0.5) < 0.05
    affinities = []
    for offset in OFFSETS:
        cut = np.maximum(membrane, np.roll(membrane, [-o for o in offset], (0, 1, 2)))
        affinities.append(np.clip(0.9 - 0.7 * cut + 0.1 * rng.standard_normal(SHAPE), 0, 1))
    stored = np.round(np.stack(affinities) * 255).astype(np.uint8)
    known = {"targets": ["affinity"] * len(OFFSETS), "offsets": OFFSETS, "scale": 1 / 255}
    create_volume(folder / "a.zarr", stored.shape, np.uint8, None, known).write(stored).result()
    foreground, contour = _smooth(rng, 2), _smooth(rng, 2)
    objects = np.stack([foreground, contour, foreground**2]).astype(np.float32)
    known = {"targets": ["foreground", "contour", "distance"], "offsets": [None] * 3, "scale": 1.0}
    create_volume(folder / "o.zarr", objects.shape, np.float32, None, known).write(objects).result()
    return folder


def _fields(predictions: Path, method: str) -> dict[str, object]:
    name, settings = (
        ("a.zarr", AFFINITY_METHODS) if method in AFFINITY_METHODS else ("o.zarr", OBJECT_METHODS)
    )
    return {"input": predictions / name, "method": method, "settings": settings[method]}


def _segment(workdir: Path, fields: dict[str, object]) -> np.ndarray:
    assert run_command(SEGMENT, workdir / "run", fields | {"output": workdir / "s.zarr"}) == 0
    return open_volume(str(workdir / "s.zarr")).store.read().result()


def _whole(fields: dict[str, object]) -> np.ndarray:
    """The same in memory, as one cell."""
    volume = open_volume(str(fields["input"]))
    offsets = tuple(map(tuple, OFFSETS)) if volume.shape[0] == 6 else (None,) * 3
    names = ("affinity",) * 6 if volume.shape[0] == 6 else ("foreground", "contour", "distance")
    prediction = Prediction(volume.store.read().result(), names, offsets)
    settings = dict(part.split("=") for part in str(fields["settings"]).split("&"))
    return decode(prediction, str(fields["method"]), settings)


@pytest.mark.parametrize("method", [*AFFINITY_METHODS, *OBJECT_METHODS])
def test_one_cell_is_the_same_as_in_memory(predictions, tmp_path, method):
    fields = _fields(predictions, method)
    found = _segment(tmp_path, fields)
    np.testing.assert_array_equal(found, _whole(fields))
    assert found.max() > 3


@pytest.mark.parametrize("method", [*AFFINITY_METHODS, *OBJECT_METHODS])
def test_blocks_change_nothing(predictions, tmp_path, method):
    fields = _fields(predictions, method) | {"fragment_size": CELL}
    if method == "mutex":
        # With its default, each cell would read nearly the whole volume.
        fields |= {"halo": "4,8,8"}
    found = [
        _segment(tmp_path / str(i), fields | {"block_size": blocks, "num_workers": 1 + i % 2})
        for i, blocks in enumerate(BLOCKS)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    results = json.loads((tmp_path / "0" / "run" / "results.json").read_text())
    assert results["objects"] == found[0].max() > 3 and results["blocks"] == 1
    assert set(results) >= {"fragments_s", "evidence_s", "partition_s", "relabel_s", "voxels_per_s"}


@pytest.mark.parametrize("method", ["components", "affinity_components"])
def test_components_are_those_of_the_whole_volume_for_any_cells(predictions, tmp_path, method):
    fields = _fields(predictions, method)
    found, whole = _segment(tmp_path, fields | {"fragment_size": CELL}), _whole(fields)
    pairs = np.unique(np.stack([found.ravel(), whole.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(whole)) == len(np.unique(found))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["agglomerate", "contour"])
def test_worker_processes_and_kills_change_nothing(predictions, tmp_path, method):
    fields = _fields(predictions, method) | {"fragment_size": CELL, "block_size": "8,20,24"}
    undisturbed = _segment(tmp_path / "a", fields)
    workers = fields | {"cluster": "local", "num_workers": 2}
    np.testing.assert_array_equal(_segment(tmp_path / "b", workers), undisturbed)
    command = [sys.executable, "-m", "emjax.main", "--config", SEGMENT]
    command += ["--workdir", str(tmp_path / "c"), f"--config.output={tmp_path / 'c.zarr'}"]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    chance = random.Random(method)
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From the moment on that it has begun to write.
        for _ in range(600):
            if (tmp_path / "c" / "graph").exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 2))
        process.kill()
        process.wait()
    assert subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0
    found = open_volume(str(tmp_path / "c.zarr")).store.read().result()
    np.testing.assert_array_equal(found, undisturbed)


def test_another_threshold_needs_the_last_two_passes_alone(predictions, tmp_path, capfd):
    fields = _fields(predictions, "agglomerate") | {"fragment_size": CELL}
    _segment(tmp_path / "a", fields)
    given = fields | {"graph": tmp_path / "a" / "run" / "graph", "block_size": "16,40,48"}
    for settings in ("plane=false&threshold=0.6", "plane=false&threshold=0.6&linkage=mean"):
        again = given | {"settings": settings}
        reused = _segment(tmp_path / settings[-4:], again)
        results = json.loads((tmp_path / settings[-4:] / "run" / "results.json").read_text())
        assert "fragments_s" not in results and "relabel_s" in results
        fresh = _segment(tmp_path / f"fresh{settings[-4:]}", fields | {"settings": settings})
        np.testing.assert_array_equal(reused, fresh)
    # Multicut is made of the same graph; other fragments are not.
    assert _segment(tmp_path / "m", given | {"method": "multicut", "settings": "plane=false"}).any()
    other = given | {"settings": "plane=true", "output": tmp_path / "o.zarr"}
    message = read_refusal(capfd, SEGMENT, tmp_path / "o", other)
    assert "another prediction, box, fragment_size" in message
    assert not (tmp_path / "o.zarr").exists()


def test_a_new_prediction_under_the_same_name_is_segmented_anew(tmp_path):
    known = {"targets": ["foreground"], "offsets": [None], "scale": 1.0}
    fields = {"input": tmp_path / "p.zarr", "settings": "min_size=0"}
    for value, objects in ((1.0, 1), (0.0, 0)):
        array = np.full((1, 4, 8, 8), value, np.float32)
        store = create_volume(
            tmp_path / "p.zarr", array.shape, np.float32, None, known, overwrite=True
        )
        store.write(array).result()
        found = _segment(tmp_path, fields | {"overwrite": "true"})
        assert found.max() == objects


def test_a_box_of_a_volume(predictions, tmp_path):
    fields = _fields(predictions, "components") | {"box": "4:20,10:60,:"}
    found = _segment(tmp_path, fields | {"fragment_size": "8,16,16"})
    assert found.shape == (16, 50, 72)
    whole = open_volume(str(predictions / "o.zarr")).store.read().result()
    inside = whole[0, 4:20, 10:60] > 0.6
    assert (inside | (found == 0)).all() and found.any()


def test_a_damaged_graph_is_named(predictions, tmp_path, capfd):
    fields = _fields(predictions, "agglomerate") | {"fragment_size": CELL}
    _segment(tmp_path / "a", fields)
    graph = tmp_path / "a" / "run" / "graph"
    victim = graph / "near_steady" / "block-0.parquet"
    victim.write_bytes(victim.read_bytes()[:100])
    again = fields | {"graph": graph, "output": tmp_path / "b.zarr"}
    assert "near_steady/block-0.parquet" in read_refusal(capfd, SEGMENT, tmp_path / "b", again)
