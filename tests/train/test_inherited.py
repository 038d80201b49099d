"""Which network, and which crops, a run takes over with the weights that it starts from."""

from __future__ import annotations

import functools
import json

import jax
import numpy as np
import pytest

from emjax.command_line import parse
from emjax.config import flatten, plain, told_fields
from emjax.errors import InputError
from emjax.runs.spec import RunSpec
from emjax.tasks.build import build_pretrain, build_segment
from emjax.train import inherited
from emjax.train.inherited import complete, continued, inherit
from emjax.train.preparation import with_network
from emjax.train.transfer import check_start, merge_params
from emjax.train.weights import Weights

UNET = {"name": "unet", "widths": (4, 8), "strides": ()}
SMALL_VIT = (
    *("model.name=vit", "model.width=24", "model.depth=4", "model.heads=2", "model.head_width=12"),
    *("model.mlp_width=48", "model.taps=0,1,2", "data.crop_size=8,64,64"),
)


@functools.cache
def _pretrained(preset: str, voxel_nm=(40, 8, 8), fields=()) -> Weights:
    """The shapes of what a preset of pretraining leaves, and what they say of themselves, as read from a file."""
    config, _ = parse(
        ["--config", f"configs/pretrain.py:{preset}", *(f"--config.{f}" for f in fields)]
    )
    values = with_network(plain(config), voxel_nm, told=told_fields(config))
    spec = RunSpec(job="pretrain", config=values, voxel_nm=voxel_nm)
    shapes = jax.eval_shape(build_pretrain(values).init, jax.random.key(0))
    return Weights(shapes, RunSpec.from_json(json.loads(json.dumps(spec.to_json()))), "runs/old")


def _finetuned(monkeypatch, weights: Weights, *fields: str, preset="neurons"):
    """The task and the parameters of `finetune.py:PRESET --config.init_from=RUN`, as the job makes them."""
    monkeypatch.setattr(inherited, "restore_params", lambda path: weights)
    fields = ("init_from=runs/old", *fields)
    config, _ = parse(
        ["--config", f"configs/finetune.py:{preset}", *(f"--config.{f}" for f in fields)]
    )
    voxel_nm = weights.spec.voxel_nm
    start = complete(
        plain(config), told_fields(config), voxel_nm, voxel_nm, labelled=True, inherits=True
    )
    task = build_segment(start.values)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    check_start(shapes, start.weights, "finetune", start.conflicts)
    return task, merge_params(shapes, start.weights, "finetune")[0]


@pytest.mark.parametrize(
    ("preset", "crop_size"),
    [
        ("ours", (8, 80, 80)),
        # Its positions are those of its crops.
        pytest.param("vit", (32, 160, 160), marks=pytest.mark.slow),
        pytest.param("paper", (8, 80, 80), marks=pytest.mark.slow),
        pytest.param("gpu", (8, 80, 80), marks=pytest.mark.slow),
        pytest.param("unet_l", (8, 80, 80), marks=pytest.mark.slow),
        pytest.param("vit_l", (32, 160, 160), marks=pytest.mark.slow),
    ],
)
def test_every_pretraining_can_be_finetuned(preset, crop_size, monkeypatch):
    task, merged = _finetuned(monkeypatch, _pretrained(preset))
    assert task.crop_size == crop_size and task.backbone.skips == "add"
    assert task.backbone.dtype == "float32"
    anew = [path for path, leaf in flatten(merged).items() if leaf is None]
    assert anew and all("head" in path or "decoder.skip" in path for path in anew), anew


def test_small_transformers_whose_skips_are_most_of_them(monkeypatch):
    weights = _pretrained("vit", fields=SMALL_VIT)
    task, merged = _finetuned(monkeypatch, weights)
    decoder = flatten(merged["backbone"]["decoder"]).values()
    assert sum(leaf is None for leaf in decoder) > len(decoder) / 2
    assert task.crop_size == (8, 64, 64)
    with pytest.raises(
        InputError, match=r"crops of \(8, 64, 64\): leave out --config.data.crop_size"
    ):
        _finetuned(monkeypatch, weights, "data.crop_size=8,32,32")


def test_crops_that_the_network_cannot_take():
    unet = {"name": "unet", "widths": (4, 8, 16), "strides": ((2, 2, 2), (2, 2, 2)), "skips": "add"}
    spec = RunSpec("pretrain", {"model": unet, "data": {"crop_size": [12, 64, 64]}})
    preset, fits = _values(unet, (6, 80, 80)), _values(unet, (8, 80, 80))
    assert inherit(preset, (), spec, "runs/a").crop_size == (12, 64, 64)
    assert inherit(fits, (), spec, "runs/a").crop_size == (8, 80, 80)
    # What a user chose stays, and the task refuses it.
    assert inherit(preset, {"data.crop_size"}, spec, "runs/a").crop_size == (6, 80, 80)


def test_what_was_chosen_against_the_weights_is_said_with_theirs():
    unet = {"name": "unet", "widths": (4, 8), "activation": "elu", "remat": False, "skips": "add"}
    spec = RunSpec("pretrain", {"model": {**unet, "skips": "none"}})
    own = {**unet, "widths": (4, 16), "activation": "relu", "remat": True}
    told = {f"model.{name}" for name in own}
    found = inherit(_values(own), told, spec, "runs/a")
    assert found.model == own
    assert "model.widths=(4, 16) was chosen, and init_from=runs/a has (4, 8)" in found.conflicts
    assert "model.activation=relu" in found.conflicts and "remat" not in found.conflicts
    assert inherit(_values(own), (), spec, "runs/a").model == {**unet, "remat": True}
    weights = Weights({"backbone": {"stem": np.ones(4)}}, spec, "runs/a")
    with pytest.raises(InputError, match=r"^model.widths.*stem \(5,\) \(there: \(4,\)\)"):
        check_start({"backbone": {"stem": np.ones(5)}}, weights, "finetune", found.conflicts)


def test_fields_that_a_run_was_begun_without_are_those_of_the_class():
    unet = {"name": "unet", "widths": (4, 8), "strides": ((1, 2, 2),), "skips": "none"}
    spec = RunSpec("pretrain", {"model": unet, "data": {"crop_size": [8, 80, 80]}})
    own = {**unet, "skips": "add", "norm": "running", "groups": 8}
    found = inherit(_values(own), (), spec, "runs/a").model
    assert (found["norm"], found["groups"], found["skips"]) == ("group", 4, "add")
    assert inherit(_values(own), {"model.norm"}, spec, "runs/a").model["norm"] == "running"


def test_another_kind_of_network_is_not_mixed_with_that_of_the_weights():
    spec = RunSpec("pretrain", {"model": {"name": "unet", "widths": (4, 8)}})
    own = {"name": "vit", "dtype": "auto", "patch_size": (4, 8, 8)}
    found = inherit(_values(own), {"model.name", "model.patch_size"}, spec, "runs/a")
    assert found.model == own
    assert found.conflicts.startswith("model.name=vit was chosen, and init_from=runs/a has unet")


def _values(model, crop_size=(8, 80, 80)):
    return {"model": model, "data": {"crop_size": crop_size}}


def test_published_weights_say_nothing_of_a_decoder():
    model = {
        "name": "image_vit",
        "patch": 14,
        "width": 384,
        "decoder_widths": [16, 64],
        "taps": [5],
    }
    spec = RunSpec(job="import_weights", config={"model": {**model, "depth": 12, "heads": 6}})
    found = inherit(
        _values({"name": "unet", "widths": (4, 8), "skips": "add", "dtype": "auto"}),
        (),
        spec,
        "runs/a",
    )
    assert found.crop_size == (8, 84, 84) and "image_vit" in found.note
    assert found.model["skips"] == "add" and found.model["patch"] == 14
    own = {"name": "image_vit", "decoder_widths": (32, 64), "skips": "add", "dtype": "auto"}
    del model["decoder_widths"]
    spec = RunSpec(job="import_weights", config={"model": model})
    found = inherit(_values(own, (8, 70, 70)), (), spec, "runs/a")
    assert found.model["decoder_widths"] == (32, 64) and found.crop_size == (8, 70, 70)


def test_nothing_is_said_where_nothing_changes():
    model = {"name": "unet", "widths": (4, 8), "strides": (), "skips": "add", "dtype": "auto"}
    there = {**model, "skips": "none", "strides": [[1, 2, 2]]}
    spec = RunSpec(job="pretrain", config={"model": there, "data": {"crop_size": [4, 64, 64]}})
    found = inherit(_values(model), (), spec, "runs/a")
    assert found.note == found.conflicts == "" and found.model["strides"] == ((1, 2, 2),)
    assert found.crop_size == (8, 80, 80)


def _complete(monkeypatch, labelled, voxel_nm, init_from="runs/old", **model):
    """The network of a run that starts from one that was trained at 40x8x8 nm."""
    spec = RunSpec(
        job="pretrain",
        config={"model": {**UNET, "strides": ((2, 2, 2),)}},
        voxel_nm=(40, 8, 8),
    )
    monkeypatch.setattr(inherited, "restore_params", lambda path: Weights({}, spec, path))
    values = {"model": {**UNET, **model}, "data": {"crop_size": (8, 16, 16)}}
    told = {f"model.{name}" for name in model}
    values = {**values, "init_from": init_from}
    start = complete(values, told, voxel_nm, voxel_nm, labelled=labelled, inherits=True)
    return start.values["model"]["strides"]


def test_what_is_continued_keeps_its_network_and_crops():
    begun = RunSpec("toy", {"model": {"strides": [[1, 2, 2]]}, "data": {"crop_size": [4, 8, 8]}})
    values = {"model": {"strides": ()}, "data": {"crop_size": (8, 8, 8), "num_threads": 3}, "a": 1}
    assert continued(values, begun) == {
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
