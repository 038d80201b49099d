"""What is told at the end of a training job, and which network starts from other weights."""

from __future__ import annotations

import types

import pytest

from emjax.errors import InputError
from emjax.runs.spec import RunSpec
from emjax.train import job
from emjax.train.weights import Weights

UNET = {"name": "unet", "widths": (4, 8), "strides": ()}


def test_a_score_stands_beside_what_it_compares_with():
    results = {"top1": 0.5, "top1_raw": 0.25, "top1_untrained": 0.125, "top1_features": 1.0}
    line = job.summary_line("retrieval", results, "top1", ".2f")
    assert line.split() == ["retrieval", "0.50", "untrained", "0.12", "raw", "pixels", "0.25"]


def _complete(monkeypatch, labelled, voxel_nm, init_from="runs/old", **model):
    """The network of a run that starts from one that was trained at 40x8x8 nm."""
    spec = RunSpec(
        job="pretrain",
        config={"model": {**UNET, "strides": ((2, 2, 2),)}},
        voxel_nm=(40, 8, 8),
    )
    monkeypatch.setattr(job, "restore_params", lambda path: Weights({}, spec, path))
    what = job.TrainingJob(build_task=types.SimpleNamespace, labelled=labelled)
    values = {"model": {**UNET, **model}, "data": {"crop_size": (8, 16, 16)}}
    told = {f"model.{name}" for name in model}
    values = {**values, "init_from": init_from}
    values, _, _ = job._complete(what, values, voxel_nm, voxel_nm, told)
    return values["model"]["strides"]


def test_what_is_continued_keeps_its_network_and_crops():
    begun = RunSpec("toy", {"model": {"strides": [[1, 2, 2]]}, "data": {"crop_size": [4, 8, 8]}})
    values = {"model": {"strides": ()}, "data": {"crop_size": (8, 8, 8), "num_threads": 3}, "a": 1}
    assert job._continued(values, begun) == {
        "model": {"strides": ((1, 2, 2),)},
        "data": {"crop_size": (4, 8, 8), "num_threads": 3},
        "a": 1,
    }


def test_strides_are_those_of_the_weights(monkeypatch):
    assert _complete(monkeypatch, True, (40, 8, 8)) == ((2, 2, 2),)
    assert _complete(monkeypatch, True, (40, 8, 8), init_from="") == ((1, 2, 2),)
    assert _complete(monkeypatch, True, (), strides=((1, 1, 2),)) == ((1, 1, 2),)
    # Unlabelled tissue of any scale may be learnt from.
    assert _complete(monkeypatch, False, (40, 4, 4)) == ((2, 2, 2),)
    with pytest.raises(
        InputError, match="data.volumes has voxels of 40x4x4 nm, init_from=runs/old"
    ):
        _complete(monkeypatch, True, (40, 4, 4))
