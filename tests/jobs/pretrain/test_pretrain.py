"""The whole job on a tiny volume, and its answer to everything that a user can get wrong."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Iterator
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

from emjax.jobs.pretrain import judge
from emjax.runs.exit_status import PREEMPTED
from emjax.tasks.build import build_pretrain
from emjax.train import interrupt, job
from emjax.train.weights import restore_params

from ..running import FEW_DEFECTS, read_refusal, run_command

SHAPE = (12, 96, 160)
SMALL = FEW_DEFECTS | {
    "num_steps": 4,
    "mesh.data": 1,
    "data.batch_size": 2,
    "data.crop_size": "2,32,32",
    "augment.max_offset": "1,4,4",
    "model.widths": "4,8",
    "loss.levels": "0",
    "loss.num_tokens": 8,
    "loss.size": 8,
    "loss.heads": 2,
    "eval.crops": 2,
    "eval.queries": 16,
    "eval.distractors": 7,
    "eval.exclusion_radius": "1,4,4",
    "eval.margin": "1,4,4",
    "eval.every_steps": 4,
    "save.every_steps": 1,
}
# What README promises of this job (What a run leaves), and every training job writes.
PROMISED = {
    "steps",
    "loss_first",
    "loss_last",
    "voxels_per_s",
    "retrieval_top1",
    "retrieval_top1_untrained",
    "matching_error_voxels",
    "psnr_db",
    "effective_rank",
}


def _noise(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), (0.5, 1.5, 1.5))
    return np.clip(127.5 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """One file with an image, and everything that is none."""
    path = tmp_path_factory.mktemp("volumes") / "a.h5"
    image = _noise()
    not_finite = image.astype(np.float32)
    not_finite[:, ::5, ::7] = np.nan
    with h5py.File(path, "w") as file:
        file["raw"] = image
        file["small"] = image[:, :40, :40]
        file["constant"] = np.full(SHAPE, 7, np.uint8)
        file["not_finite"] = not_finite
        file["mask"] = image > 127
        file["labels"] = (image // 64).astype(np.uint64)
    return path


CONFIG = "configs/pretrain.py:smoke"


def _command(volume: str, workdir: Path, **overrides: object) -> int:
    return run_command(CONFIG, workdir, SMALL | {"data.volumes": volume} | overrides)


@pytest.fixture(scope="module")
def finished(volumes, tmp_path_factory) -> types.SimpleNamespace:
    """The one run that the checks of results share."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return types.SimpleNamespace(folder=folder, status=_command(f"{volumes}:raw", folder))


def test_a_run_writes_what_was_promised(finished):
    assert finished.status == 0
    results = json.loads((finished.folder / "results.json").read_text())
    assert set(results) >= PROMISED
    assert all(np.isfinite(value) for value in results.values())
    assert results["steps"] == 4 and results["voxels_per_s"] > 0
    # A score that is compared with an untrained network is one that can choose the best checkpoint.
    values = restore_params(finished.folder).spec.config
    scores = {n.removesuffix("_untrained") for n in results if n.endswith("_untrained")}
    assert scores == set(judge.score_names(values, build_pretrain(values)))
    assert 0 <= results["retrieval_top1"] <= 1 and results["retrieval_top1_chance"] == 1 / 8


def test_a_run_writes_pictures_and_curves(finished):
    pictures = sorted((finished.folder / "plots").glob("*.png"))
    assert [picture.name for picture in pictures] == ["crops.png", "curves.png"]
    assert all(imread(picture).std() > 0.01 for picture in pictures)
    assert list((finished.folder / "tensorboard").iterdir())
    lines = (finished.folder / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["step"] for line in lines} == {1, 2, 3, 4}


def test_a_run_writes_parameters_that_can_be_read(finished):
    params = restore_params(finished.folder).params
    assert set(params) == {"backbone", "projection", "matcher"}
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))


@pytest.fixture
def refused(monkeypatch, tmp_path, capfd) -> Iterator:
    """Runs a command that has to be refused, in one line, before anything is compiled."""

    def compiled(*_: object, **__: object) -> None:
        raise AssertionError("the evaluation was prepared before the input was refused")

    monkeypatch.setattr(judge, "PretrainEvaluation", compiled)
    monkeypatch.setattr(job, "fit", compiled)

    def call(volume: str, workdir: Path = tmp_path / "run", **overrides: object) -> str:
        return read_refusal(capfd, CONFIG, workdir, SMALL | {"data.volumes": volume} | overrides)

    return call


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("raw2", ["raw2", "constant", "labels", "small"]),
        ("small", ["small", "smaller than"]),
        ("constant", ["constant"]),
        ("not_finite", ["not_finite", "NaN"]),
        ("mask", ["mask", "bool"]),
        ("labels", ["labels"]),
    ],
)
def test_a_volume_that_is_no_image(refused, volumes, dataset, words):
    message = refused(f"{volumes}:{dataset}")
    assert all(word.lower() in message.lower() for word in words), message


def test_a_path_that_is_not_there(refused, volumes):
    message = refused(f"{volumes.parent}/b.h5:raw")
    assert "b.h5" in message and "a.h5" in message


def test_an_unknown_field(refused, volumes):
    message = refused(f"{volumes}:raw", loss__temprature=0.2)
    assert "did you mean --config.loss.temperature?" in message


def test_a_score_that_this_run_does_not_have(refused, volumes):
    message = refused(f"{volumes}:raw", save__best_metric="retrieval_top")
    assert "did you mean 'retrieval_top1'?" in message


def test_probabilities_that_do_not_sum(refused, volumes):
    volume = f"{volumes}:raw;{volumes}:raw"
    assert "data.probabilities" in refused(volume, data__probabilities="0.5,0.4")


def test_a_batch_that_the_mesh_cannot_split(refused, volumes):
    message = refused(f"{volumes}:raw", mesh__data=3)
    assert "batch" in message and "3" in message


def test_a_workdir_below_a_file(refused, volumes, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused(f"{volumes}:raw", tmp_path / "file" / "run")
    assert "cannot write" in message and "--workdir" in message


def test_a_workdir_of_another_configuration(refused, finished, volumes):
    before = (finished.folder / "results.json").read_bytes()
    message = refused(f"{volumes}:raw", finished.folder, optimizer__learning_rate=0.5)
    assert "another configuration" in message and "optimizer.learning_rate" in message
    assert (finished.folder / "results.json").read_bytes() == before


def test_a_disk_that_is_full(refused, volumes, monkeypatch):
    usage = types.SimpleNamespace(total=100, used=100, free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    message = refused(f"{volumes}:raw")
    assert "0.0 GiB free" in message and "save.keep" in message


@pytest.mark.slow
def test_stopped_and_continued_is_the_same_run(finished, volumes, tmp_path, monkeypatch):
    """Bit for bit: 4 steps; and 2 steps, SIGTERM, the same command again."""
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(interrupt.Interrupt, "reached", lambda self, step: step >= 2)
        assert _command(f"{volumes}:raw", stopped) == PREEMPTED
    assert not (stopped / "results.json").exists()
    assert _command(f"{volumes}:raw", stopped) == 0
    one, other = (restore_params(folder).params for folder in (finished.folder, stopped))
    jax.tree.map(np.testing.assert_array_equal, one, other)
