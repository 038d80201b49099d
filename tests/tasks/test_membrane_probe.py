from __future__ import annotations

from typing import Any

import h5py
import jax
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.parallel.compile import jit
from emjax.parallel.mesh import make_mesh
from emjax.tasks.membrane_probe import MembraneProbe

from .small import small_config, small_task

SHAPE = (6, 64, 96)


@pytest.fixture
def volume(tmp_path) -> str:
    """Cells of 12x12 voxels, dark where they meet, in noise."""
    _, y, x = np.indices(SHAPE)
    labels = 1 + (y // 12) * 16 + x // 12
    labels[:, :2] = 255  # unknown
    labels = labels.astype(np.uint64)
    border = (y % 12 < 1) | (y % 12 > 10) | (x % 12 < 1) | (x % 12 > 10)
    rng = np.random.default_rng(0)
    image = np.clip(np.where(border, 60, 180) + rng.normal(scale=15, size=SHAPE), 0, 255)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["raw"] = image.astype(np.uint8)
        file["ids"] = labels
        file["one"] = np.full(SHAPE, 7, np.uint64)
        file["ignored"] = np.full(SHAPE, 255, np.uint64)
        file["small"] = labels[:, :32]
        file["membrane"] = np.where(border, 0, labels).astype(np.uint64)
    return str(path)


def _probe(volume: str, labels: str = "ids", **changes: Any) -> MembraneProbe:
    settings = small_config()["eval"] | {
        "probe_train": f"{volume}:raw[:,:,0:48]|{volume}:{labels}[:,:,0:48]",
        "probe_test": f"{volume}:raw[:,:,48:96]|{volume}:{labels}[:,:,48:96]",
        "probe_ignore": (255,),
    }
    mesh = make_mesh({"data": 1, "fsdp": 1, "spatial": 1}, jax.devices()[:1])
    return MembraneProbe(small_task(), settings | changes, mesh=mesh)


def test_membranes_of_an_easy_volume_are_found(volume):
    probe = _probe(volume)
    raw = probe.baselines()
    assert raw["probe_average_precision_raw"] > 0.9 > raw["probe_average_precision_chance"] > 0.1
    params = jit(small_task().init)(jax.random.key(0))
    scores = probe(params)
    assert set(scores) == {"probe_average_precision", "probe_roc_auc", "probe_f1"}
    assert all(0 <= value <= 1 for value in scores.values())
    # Random features of the image already say something.
    assert scores["probe_roc_auc"] > 0.6
    assert scores == _probe(volume)(params)


def test_ids_that_are_membrane(volume):
    raw = _probe(volume, "membrane", probe_membrane=(0,)).baselines()
    assert raw["probe_average_precision_raw"] > 0.9


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("one", "one class only"),
        ("ignored", "every voxel is ignored"),
        ("small", "must be equal and hold a crop"),
    ],
)
def test_labels_that_say_nothing(volume, labels, message):
    with pytest.raises(InputError, match=f"eval.probe_train: .*{message}"):
        _probe(volume, labels)


def test_labels_are_needed(volume):
    with pytest.raises(InputError, match=r"eval.probe_test=.* give one image\|labels"):
        _probe(volume, probe_test=f"{volume}:raw")
