"""The segmentation task: every parameter learns, masks reach the loss, predictions are in [0, 1], metrics by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment.recipes import window_size
from emjax.command_line import load_config
from emjax.config import plain
from emjax.errors import InputError
from emjax.parallel.mesh import batch_sharding, make_mesh
from emjax.tasks.build import build_segment
from emjax.tasks.segment import Segment
from emjax.tasks.segment_evaluation import SegmentEvaluation
from emjax.train.preparation import with_network

from .small import VIT, norms, smooth_noise

CROP = (4, 32, 32)
ALL = (
    "affinities?offsets=nearest; foreground?ids=1,2; contour; distance; signed_distance; "
    "classes?ids=0,1,2&losses=cross_entropy+dice"
)
STILL = {"strong_probability": 0.0} | {
    f"{name}_probability": 0.0
    for name in ("orientation", "rescale", "elastic", "intensity", "noise", "blur")
}


def _task(targets: str = ALL, **overrides: Any) -> Segment:
    values = with_network(plain(load_config("configs/finetune.py:smoke")), ())
    values["data"]["crop_size"] = CROP
    values["model"] |= {"widths": (4, 8), "strides": ()}
    values["augment"] |= STILL
    return build_segment(values | {"targets": targets} | overrides)


def _batch(task: Segment, count: int = 4) -> dict[str, np.ndarray]:
    size = window_size(task.crop_size, task.recipe)
    z, y, x = np.indices((count, *size))[1:]
    labels = ((y // 9) + 2 * (x // 9)) % 4 * ((y + x + z) % 7 > 0)
    return {
        "image": smooth_noise((count, *size)),
        "labels": labels.astype(np.int32),
        "classes": np.minimum(labels, 2).astype(np.int32),
        "voxel_nm": np.full((count, 3), 8, np.float32),
    }


@pytest.mark.parametrize("model", [None, VIT | {"skips": "add"}])
def test_every_parameter_learns(model):
    task = _task() if model is None else _task(model=model)
    batch, params = _batch(task), task.init(jax.random.key(0))
    gradient, metrics = jax.jit(jax.grad(task.loss, has_aux=True))(params, batch, jax.random.key(1))
    still = [name for name, norm in norms(gradient).items() if not norm > 0]
    assert still == []
    assert set(metrics) == {
        "loss/affinities_balanced_bce",
        "loss/foreground_bce",
        "loss/foreground_dice",
        "loss/contour_balanced_bce",
        "loss/contour_dice",
        "loss/distance_mse",
        "loss/signed_distance_mse",
        "loss/classes_cross_entropy",
        "loss/classes_dice",
    }
    assert all(np.isfinite(value) for value in metrics.values())


def test_predictions_are_unit_values_of_all_channels():
    task = _task()
    params = task.init(jax.random.key(0))
    found = np.asarray(task.predict(params, jnp.asarray(smooth_noise((2, *CROP)) / 255)))
    assert found.shape == (2, *CROP, 10) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(found[..., 7:].sum(axis=-1), 1, rtol=1e-5)
    assert task.names[:5] == ("affinity", "affinity", "affinity", "foreground", "contour")
    assert task.names[7:] == ("class_0", "class_1", "class_2")
    assert task.offsets == ((-1, 0, 0), (0, -1, 0), (0, 0, -1), *(None,) * 7)


def test_what_is_not_known_does_not_teach():
    task = _task("affinities?offsets=nearest; foreground")
    batch, params, key = _batch(task), task.init(jax.random.key(0)), jax.random.key(1)
    step = jax.jit(jax.value_and_grad(task.loss, has_aux=True))
    (loss, _), gradient = step(params, batch | {"labels": np.full_like(batch["labels"], -1)}, key)
    assert loss == 0 and all(norm == 0 for norm in norms(gradient).values())
    half = batch["labels"].copy()
    half[:, :, 16:] = -1
    (part, _), _ = step(params, batch | {"labels": half}, jax.random.clone(key))
    (full, _), _ = step(params, batch, jax.random.clone(key))
    assert 0 < part != full


def test_the_loss_is_the_same_on_any_mesh():
    task = _task("affinities?offsets=nearest; foreground?losses=dice")
    batch, params = _batch(task), task.init(jax.random.key(0))
    expected, _ = jax.jit(task.loss)(params, batch, jax.random.key(1))
    mesh = make_mesh({"data": 2, "fsdp": 2, "spatial": 2})
    placed = jax.device_put(batch, batch_sharding(mesh))
    with jax.set_mesh(mesh):
        found, _ = jax.jit(task.loss)(params, placed, jax.random.key(1))
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_widened_borders_are_background_for_affinities():
    labels = {"labels": np.repeat(np.asarray([1, 2], np.int32), 16)[None, None, None, :]}
    labels = {"labels": jnp.broadcast_to(labels["labels"], (1, *CROP))}
    voxel_nm = jnp.ones((1, 3))
    task = _task("affinities?offsets=0,0,-1; foreground")
    (affinity, foreground), _ = dataclasses.replace(task, widen=False).make_targets(
        labels, voxel_nm
    )
    assert np.flatnonzero(np.asarray(affinity)[0, 0, 5, 1:, 0] == 0).tolist() == [15]
    (affinity, foreground), _ = dataclasses.replace(task, widen=True).make_targets(labels, voxel_nm)
    # 15 and 16 are background now: neither of them is joined to anything.
    assert np.flatnonzero(np.asarray(affinity)[0, 0, 5, 1:, 0] == 0).tolist() == [14, 15, 16]
    assert foreground.min() == 1  # of the foreground, which is not widened


class _Known:
    """A network that says what it is given: the image times 40 minus 20 as every logit."""

    def __init__(self, task: Segment) -> None:
        self._channels = sum(target.channels for target in task.targets)

    def apply(self, params: Any, x: jax.Array) -> dict[str, jax.Array]:
        del params
        return {"output": jnp.repeat(x * 40 - 20, self._channels, axis=-1)}


def _scores(targets: str, image: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    task = dataclasses.replace(_task(targets), widen=False)
    task = dataclasses.replace(task, backbone=_Known(task))
    crops = {
        "image": image,
        "labels": labels,
        "classes": labels,
        "voxel_nm": np.ones((len(image), 3), np.float32),
    }
    mesh = make_mesh({"data": 1, "fsdp": 1, "spatial": 1}, jax.devices()[:1])
    return SegmentEvaluation(task, crops, mesh=mesh, chunk=1)({"backbone": {}})


def test_foreground_iou_adds_up_over_crops():
    image, labels = np.zeros((2, *CROP), np.uint8), np.zeros((2, *CROP), np.int32)
    labels[0, 0, 0, :8] = 1
    image[0, 0, 0, 4:10] = 255  # 4 hits, 2 false alarms, 4 misses
    labels[1, 1, 1, :2] = 3
    image[1, 1, 1, :2] = 255  # 2 hits
    labels[1, 2] = -1
    image[1, 2] = 255  # not known
    scores = _scores("foreground?losses=bce", image, labels)
    assert scores["val_foreground_iou"] == pytest.approx(6 / 12)
    # Wrong by 20 in the logit at 6 of the known voxels.
    known = 2 * np.prod(CROP) - 32 * 32
    wanted = [6 * 20 / np.prod(CROP), 0]
    assert scores["val_loss"] == pytest.approx(np.mean(wanted), rel=1e-4) and known > 0
    assert scores["val_loss_foreground_bce"] == scores["val_loss"]


def test_affinity_f1_is_of_the_edges_that_separate():
    labels = np.ones((1, *CROP), np.int32)
    labels[..., 16:] = 2
    image = np.full((1, *CROP), 255, np.uint8)
    image[..., 16] = 0  # the edge from 16 to 15 is the one that separates
    scores = _scores("affinities?offsets=0,0,-1", image, labels)
    assert scores["val_affinity_f1"] == 1
    image[..., 20] = 0
    assert _scores("affinities?offsets=0,0,-1", image, labels)["val_affinity_f1"] == pytest.approx(
        2 / 3
    )


def test_a_metric_that_nothing_decides_is_absent():
    image, labels = np.zeros((1, *CROP), np.uint8), np.full((1, *CROP), -1, np.int32)
    assert _scores("foreground; distance", image, labels) == {}
    # Of two crops the one that is labelled decides: with the other, whose loss is 0, the mean would be half of it.
    both = _scores(
        "foreground?losses=bce",
        np.zeros((2, *CROP), np.uint8),
        np.stack([labels[0] + 2, labels[0]]),
    )
    assert both["val_loss"] == both["val_loss_foreground_bce"] == pytest.approx(20, rel=1e-4)
    assert both["val_foreground_iou"] == 0


def test_a_pretrained_network_has_no_head_for_it():
    values = plain(load_config("configs/pretrain.py:smoke"))
    with pytest.raises(InputError, match=r"names no targets.*configs/finetune.py"):
        build_segment(values)


@pytest.mark.parametrize(
    ("targets", "message"),
    [("affinities?offsets=-4,0,0", "-4,0,0 leaves no pair"), ("fore", "unknown target 'fore'")],
)
def test_mistakes(targets, message):
    with pytest.raises(InputError, match=message):
        _task(targets)


def test_targets_of_labels_with_names_read_those() -> None:
    """Two kinds of labels, two foregrounds of one of them: each target is made from its own."""
    task = _task("affinities?of=neurons; foreground?of=mito; foreground?ids=2&name=axon&of=neurons")
    assert task.names == ("neurons.affinity",) * 3 + ("mito.foreground", "axon.foreground")
    assert task.label_kinds == (
        *("labels.neurons", "classes.neurons"),
        *("labels.mito", "classes.mito"),
    )
    assert [target.score for target in task.targets][1:] == [
        "mito_foreground_iou",
        "axon_foreground_iou",
    ]
    neurons = np.zeros((1, *CROP), np.int32)
    neurons[..., :16], neurons[..., 16:] = 1, 2
    labels = {kind: jnp.zeros((1, *CROP), jnp.int32) for kind in task.label_kinds}
    labels |= {"labels.neurons": jnp.asarray(neurons), "classes.neurons": jnp.asarray(neurons)}
    labels["labels.mito"] = jnp.full((1, *CROP), -1).at[:, 0].set(1)
    values, masks = task.make_targets(labels, jnp.zeros((1, 3)))
    assert values[1][0, 0].all() and masks[1][0, 0].all() and not masks[1][0, 1:].any()
    np.testing.assert_array_equal(values[2][0, ..., 0], neurons[0] == 2)


def test_targets_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(InputError, match="'foreground' is given twice.*name=NAME"):
        _task("foreground?ids=1; foreground?ids=2")
    with pytest.raises(InputError, match="of=a.b must be letters"):
        _task("foreground?of=a.b")


def test_weights_are_of_whole_objects_and_reach_the_masks():
    task = _task("foreground?ids=1&erode=1&weights=small/5:3; foreground?name=plain")
    labels = np.zeros((1, *CROP), np.int32)
    labels[0, 0, 4:6, 4:6], labels[0, :, 10:20, 10:20] = 1, 2
    batch = {"labels": jnp.asarray(labels), "classes": jnp.asarray(labels)}
    (values, plain), (mask, even) = task.make_targets(batch, jnp.full((1, 3), 8.0))
    assert set(np.unique(even)) == {1} and plain.sum() == (labels > 0).sum()
    # The eroded object is gone, and its four voxels still weigh 1 + 3.
    assert values.sum() == 0
    np.testing.assert_array_equal(mask[..., 0], np.where(labels == 1, 4, 1))
