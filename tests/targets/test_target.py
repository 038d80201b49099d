from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.losses.dense import ACTIVATIONS, DENSE_LOSSES
from emjax.targets.affinities import Affinities
from emjax.targets.classes import Classes
from emjax.targets.contour import Contour
from emjax.targets.distance import Distance
from emjax.targets.energy import Energy
from emjax.targets.flow import Flow
from emjax.targets.foreground import Foreground
from emjax.targets.language import TARGETS
from emjax.targets.offsets import LONG_RANGE, NEAREST
from emjax.targets.polarity import ExclusivePolarity, Polarity
from emjax.targets.shape_descriptors import ShapeDescriptors
from emjax.targets.signed_distance import SignedDistance
from emjax.targets.skeleton_distance import SkeletonDistance
from emjax.targets.target import Target

ALL = [
    Affinities(),
    Affinities(offsets=LONG_RANGE[:6]),
    Foreground(),
    Foreground(ids=(1, 3)),
    Contour(),
    Contour(thickness=2, edges="touching", plane=False),
    Distance(),
    Distance(plane=True),
    SignedDistance(),
    Classes(ids=(0, 1, 3)),
    Polarity(),
    ExclusivePolarity(),
    SkeletonDistance(),
    Energy(plane=True),
    Flow(),
    Flow(plane=False),
    ShapeDescriptors(),
    Foreground(erode=1, dilate=2),
]


def labels() -> np.ndarray:
    """Two crops, `[2, 6, 12, 12]` int32, some of it unknown."""
    coarse = np.random.default_rng(0).integers(0, 4, (2, 2, 3, 3))
    fine = np.kron(coarse, np.ones((1, 3, 4, 4), int)).astype(np.int32)
    fine[:, 2, 5, 7:9] = -1
    return fine


@pytest.mark.parametrize("target", ALL, ids=str)
def test_what_every_target_promises(target):
    values, mask = jax.jit(jax.vmap(target.of_labels))(
        labels(), jnp.array([[40.0, 4, 4], [0, 0, 0]])
    )
    shape = (*labels().shape, target.channels)
    assert values.shape == mask.shape == shape and values.dtype == mask.dtype == jnp.float32
    assert len(target.names) == len(target.channel_offsets) == target.channels
    values, mask = np.asarray(values), np.asarray(mask)
    assert set(np.unique(mask)) == {0.0, 1.0}
    # Nothing is known where the label is unknown, and something elsewhere.
    assert np.all(mask[labels() == -1] == 0) and mask.mean() > 0.05
    low = -1 if target.activation == "tanh" else 0
    assert values.min() >= low and values.max() <= 1 and np.ptp(values) > 0
    assert np.all(values[mask == 0] == 0)
    assert hash(target) == hash(type(target)(**vars(target)))


@pytest.mark.parametrize("target", ALL, ids=str)
def test_unit_values_of_any_logits(target):
    logits = jnp.array([[-200.0, 0.0, 200.0]]).T * jnp.ones(target.channels)
    units = np.asarray(target.unit(logits.astype(jnp.bfloat16)))
    assert units.dtype == np.float32 and units.min() >= 0 and units.max() <= 1
    if target.activation == "softmax":
        np.testing.assert_allclose(units, 1 / target.channels)
    else:
        np.testing.assert_allclose(
            units, [[0] * target.channels] * 1 + [[0.5] * target.channels, [1] * target.channels]
        )


def test_unit_values_by_hand():
    logits = jnp.array([[0.3, -1.0, 2.0]])
    np.testing.assert_allclose(Affinities().unit(logits), 1 / (1 + np.exp(-logits)), rtol=1e-6)
    np.testing.assert_allclose(
        SignedDistance().unit(logits[:, :1]), (np.tanh(0.3) + 1) / 2, rtol=1e-6
    )
    exps = np.exp(np.asarray(logits))
    np.testing.assert_allclose(Classes(ids=(0, 1, 2)).unit(logits), exps / exps.sum(), rtol=1e-6)


def test_the_unit_of_a_perfect_signed_distance_is_its_value_as_stored():
    target = SignedDistance()
    values, _ = target.make(jnp.asarray(labels()[0]))
    np.testing.assert_allclose(
        target.unit(jnp.arctanh(values)), (np.asarray(values) + 1) / 2, atol=1e-6
    )


def test_channels_metrics_and_the_labels_that_are_read():
    assert Affinities(offsets=LONG_RANGE).channels == 12 and Affinities().offsets == NEAREST
    assert Affinities().names == ("affinity",) * 3 and Affinities().metric.name == "affinity_f1"
    assert Classes(ids=(0, 4)).names == ("class_0", "class_4")
    assert Classes(ids=(0, 4)).channel_offsets == (None, None)
    assert Foreground().reads == "labels" and Foreground(ids=(2,)).reads == "classes"
    assert Classes(ids=(0, 4)).reads == "classes"
    metrics = [kind.metric.name for kind in TARGETS.values()]
    assert len(set(metrics)) == len(metrics)


@pytest.mark.parametrize("name", TARGETS.own_names)
def test_the_documentation_has_a_row_of_each_target(name):
    page = (Path(__file__).resolve().parents[2] / "docs" / "targets.md").read_text()
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    kind = TARGETS[name]
    assert f"`{kind.metric.name}`" in row and row.endswith(f"`{kind.decoder}` |".replace("`` ", ""))
    # What all targets have stands beside the table.
    options = {f.name for f in dataclasses.fields(kind)} - {
        f.name for f in dataclasses.fields(Target)
    }
    assert {option for option in options if f"`{option}`" not in row} == set()


def test_every_known_loss_exists_and_every_activation():
    for kind in TARGETS.values():
        assert set(kind.known_losses) <= set(DENSE_LOSSES)
        assert kind.activation in ACTIVATIONS
    assert {name for kind in TARGETS.values() for name in kind.known_losses} == set(DENSE_LOSSES)


def test_classes_by_hand():
    values, mask = Classes(ids=(0, 2)).make(jnp.array([[[0, 2, 5, -1]]]))
    np.testing.assert_array_equal(values[0, 0], [[1, 0], [0, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(mask[0, 0], [[1, 1], [1, 1], [0, 0], [0, 0]])


def test_distances_follow_the_voxel_size():
    crop = np.zeros((9, 9, 9), np.int32)
    crop[2:7, 2:7, 2:7] = 1
    cubes, _ = SignedDistance().make(jnp.asarray(crop))
    flat, _ = SignedDistance().make(jnp.asarray(crop), (40.0, 4.0, 4.0))
    np.testing.assert_allclose(cubes[4, 4, 4, 0], np.tanh(3 / 8), rtol=1e-6)
    np.testing.assert_allclose(cubes[0, 4, 4, 0], -np.tanh(2 / 50), rtol=1e-6)
    np.testing.assert_allclose(flat[0, 4, 4, 0], -np.tanh(20 / 50), rtol=1e-6)
    # A thicker section is no edge nearer than those in the plane: 3 voxels of 4 nm.
    np.testing.assert_allclose(flat[4, 4, 4, 0], np.tanh(3 / 8), rtol=1e-6)


def test_crops_that_are_too_small_are_refused():
    crop = jnp.zeros((3, 20, 20), jnp.int32)
    with pytest.raises(InputError, match="offset -3,0,0 leaves no pair.*crop_size"):
        Affinities(offsets=LONG_RANGE).make(crop)
    with pytest.raises(InputError, match="thickness=2.*plane=true"):
        Contour(thickness=2, plane=False).make(crop)
    assert Contour(thickness=2).make(crop)[1].sum() > 0
    with pytest.raises(InputError, match="jax.vmap"):
        Affinities().make(crop[None])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Affinities(offsets=((1, 0, 0),)), "use -1,0,0"),
        (lambda: Foreground(ids=(0,)), "ids=0: must be 1 or more"),
        (lambda: Foreground(ids=(2, 2)), "given twice"),
        (lambda: Foreground(ids=(2**40,)), "up to 2147483647"),
        (lambda: Foreground(losses=()), "no loss"),
        (lambda: Foreground(losses=(("bce", 0.0),)), "weight 0 of loss bce"),
        (lambda: Foreground(losses=(("bce", float("nan")),)), "weight nan"),
        (lambda: Foreground(losses=(("bce", 1.0), ("bce", 1.0))), "bce is given twice"),
        (lambda: Distance(losses=(("balanced_bce", 1.0),)), "known: bce, l1, mse"),
        (lambda: SignedDistance(losses=(("bce", 1.0),)), "known: l1, mse"),
        (lambda: SignedDistance(inside=0.0), "inside=0 must be above 0"),
        (lambda: Classes(ids=(1,)), "two ids or more"),
        (lambda: Contour(thickness=0), "thickness=0"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
