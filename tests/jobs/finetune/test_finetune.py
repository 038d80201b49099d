"""The whole job on a tiny labelled volume, and its answer to everything that a user can get wrong."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from matplotlib.image import imread

from emjax.jobs.finetune import judge
from emjax.runs.exit_status import PREEMPTED
from emjax.tasks.build import build_segment
from emjax.train import interrupt, job
from emjax.train.weights import restore_params

from ...extending import write_package
from ...tasks.small import smooth_noise
from ..running import FEW_DEFECTS, read_refusal, run_command

CONFIG = "configs/finetune.py:smoke"
SHAPE = (12, 64, 128)
SMALL = FEW_DEFECTS | {
    "num_steps": 4,
    "optimizer.ema_decay": 0.9,
    "mesh.data": 1,
    "data.batch_size": 2,
    "data.crop_size": "4,32,32",
    "targets": "affinities?offsets=nearest; foreground?losses=bce",
    "model.widths": "4,8",
    "eval.crops": 2,
    "eval.margin": "1,4,4",
    "eval.every_steps": 2,
    "save.every_steps": 1,
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """One file with an image, its labels, and labels that are none."""
    path = tmp_path_factory.mktemp("volumes") / "a.h5"
    z, y, x = np.indices(SHAPE)
    labels = ((y // 12) * 20 + x // 12 + 1).astype(np.uint64) << 33
    labels[(y % 12 == 0) | (x % 12 == 0)] = 0
    with h5py.File(path, "w") as file:
        file["raw"] = np.where(labels > 0, smooth_noise(SHAPE) // 2 + 100, 20).astype(np.uint8)
        file["labels"] = labels
        file["short"] = labels[:8]
        file["floats"] = labels.astype(np.float32)
        file["empty"] = np.zeros_like(labels)
    return path


def _fields(path: Path, labels: str = "labels", **overrides: object) -> dict[str, object]:
    return SMALL | {"data.volumes": f"{path}:raw?voxel_nm=40,8,8|{path}:{labels}"} | overrides


@pytest.fixture(scope="module")
def finished(volumes, tmp_path_factory) -> types.SimpleNamespace:
    """The one run that the checks of results share, from scratch."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    return types.SimpleNamespace(
        folder=folder, status=run_command(CONFIG, folder, _fields(volumes))
    )


def test_a_run_writes_what_was_promised(finished):
    assert finished.status == 0
    results = json.loads((finished.folder / "results.json").read_text())
    promised = {"steps", "loss_first", "loss_last", "voxels_per_s", "val_loss"}
    assert set(results) >= promised | {"val_affinity_f1", "val_foreground_iou"}
    assert all(np.isfinite(value) for value in results.values())
    assert results["steps"] == 4 and 0 <= results["val_foreground_iou"] <= 1
    task = build_segment(restore_params(finished.folder).spec.config)
    found = {name for name in results if name.startswith("val_")}
    assert found == set(judge.score_names({}, task))
    for name in ("crops", "curves"):
        assert imread(finished.folder / "plots" / f"{name}.png").std() > 0.01
    assert json.loads((finished.folder / "best.json").read_text())["metric"] == "val_loss"


def test_a_finished_run_says_so_and_does_nothing(finished, volumes, monkeypatch, capfd):
    monkeypatch.setattr(job, "prepare_training", lambda *_: pytest.fail("nothing to do"))
    assert run_command(CONFIG, finished.folder, _fields(volumes)) == 0
    assert "finished     all 4 steps were taken before" in capfd.readouterr().out


def test_a_checkpoint_says_what_it_predicts(finished):
    weights = restore_params(finished.folder)
    assert weights.spec.task == {
        "targets": ["affinity", "affinity", "affinity", "foreground"],
        "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1], None],
    }
    assert weights.spec.voxel_nm == (40, 8, 8)
    assert [list(s) for s in weights.spec.config["model"]["strides"]] == [[1, 2, 2]]
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(weights.params))


def test_a_run_starts_from_another_with_another_head(
    finished, volumes, tmp_path, capfd, monkeypatch
):
    # One of the targets is of another package: a file and a line, and the command knows it.
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    targets = "contour; large_ids?least=3&losses=bce+dice"
    fields = _fields(volumes, targets=targets, init_from=finished.folder)
    assert run_command(CONFIG, tmp_path / "run", fields | {"num_steps": 1}) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert 0 <= results["val_large_ids_f1"] <= 1 and results["val_loss_large_ids_dice"] > 0
    assert restore_params(tmp_path / "run").spec.task["targets"] == ["contour", "large_ids"]
    table = capfd.readouterr().err.split("weights from")[1]
    taken, rest = table.split("begins anew")
    new, left = rest.split("left over there")
    assert "backbone/encoder/level0" in taken and "backbone/head/conv" in taken
    assert "backbone/head/out" in new and "backbone/head/out" in left


@pytest.fixture
def refused(monkeypatch, tmp_path, capfd) -> Callable[..., str]:
    """Runs a command that has to be refused before anything is compiled."""

    def compiled(*_: object, **__: object) -> None:
        raise AssertionError("something was compiled before the input was refused")

    monkeypatch.setattr(judge, "SegmentEvaluation", compiled)
    monkeypatch.setattr(job, "fit", compiled)

    def call(fields: dict[str, object], workdir: Path = tmp_path / "run") -> str:
        return read_refusal(capfd, CONFIG, workdir, fields)

    return call


@pytest.mark.parametrize(
    ("labels", "overrides", "words"),
    [
        ("short", {}, ["(12, 64, 128) voxels", "are (8, 64, 128)"]),
        ("floats", {}, ["float32", "labels are integers"]),
        ("empty", {}, ["no labelled voxel to train on", "empty"]),
        ("labels?ignore=x", {}, ["ignore=x must be ids"]),
        ("labels", {"targets": "afinities"}, ["afinities", "did you mean 'affinities'?"]),
        ("labels", {"targets": "affinities?offsets=long"}, ["-4,0,0", "crop"]),
        ("labels", {"targets": ""}, ["targets is empty"]),
        ("labels", {"data.label_sections": 50}, ["label_sections=50", "9 sections"]),
        ("labels", {"eval.held_out_axis": "w"}, ["held_out_axis='w'"]),
        ("labels", {"augment.strong_probability": 2}, ["strong_probability=2"]),
        ("labels", {"optimizer.freeze": "nothing"}, ["nothing", "matches no parameter"]),
        ("labels", {"init_from": "nowhere"}, ["no such checkpoint"]),
        ("labels", {"init_from": __file__}, ["is a file, and no weights"]),
        ("labels", {"data.label_sections": -2}, ["data.label_sections=-2: must be at least 0"]),
        ("labels", {"save.best_metric": "val_los"}, ["no score", "did you mean 'val_loss'?"]),
    ],
)
def test_what_cannot_be_learnt_is_one_line(refused, volumes, labels, overrides, words, monkeypatch):
    if "optimizer.freeze" in overrides:
        monkeypatch.undo()
    message = refused(_fields(volumes, labels, **overrides))
    assert all(word in message for word in words), message


def test_an_image_without_labels(refused, volumes):
    message = refused(SMALL | {"data.volumes": f"{volumes}:raw"})
    assert "has no labels; write image|labels" in message


def test_another_voxel_size_than_the_weights(refused, finished, volumes):
    fields = _fields(volumes, init_from=finished.folder)
    fields["data.volumes"] = fields["data.volumes"].replace("40,8,8", "40,4,4")
    message = refused(fields)
    assert "40x4x4 nm" in message and "40x8x8 nm" in message and "voxel_nm" in message


def test_another_network_than_the_weights(finished, volumes, tmp_path, capfd):
    fields = _fields(volumes, init_from=finished.folder) | {"model.widths": "4,12"}
    message = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert "backbone/centre/conv0/kernel (1, 3, 3, 4, 12) (there: (1, 3, 3, 4, 8))" in message
    assert "decoder" in message and "config.model" in message


@pytest.mark.slow
def test_stopped_and_continued_is_the_same_run(finished, volumes, tmp_path, monkeypatch):
    """Bit for bit: 4 steps; and 2 steps, SIGTERM, the same command again."""
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(interrupt.Interrupt, "reached", lambda self, step: step >= 2)
        assert run_command(CONFIG, stopped, _fields(volumes)) == PREEMPTED
    assert not (stopped / "results.json").exists()
    assert run_command(CONFIG, stopped, _fields(volumes)) == 0
    one, other = (restore_params(folder).params for folder in (finished.folder, stopped))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    results = [json.loads((f / "results.json").read_text()) for f in (finished.folder, stopped)]
    assert results[0]["val_loss"] == results[1]["val_loss"]
