"""What PyTorch Connectomics does with the inputs of its tests, one each; where emjax differs, the name says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from emjax.segmentation.methods import decode
from emjax.segmentation.prediction import Prediction
from emjax.targets.affinities import affinities
from emjax.targets.contour import contour
from emjax.targets.distance import instance_distance
from emjax.targets.energy import Energy, quantise
from emjax.targets.foreground import foreground
from emjax.targets.offsets import NEAREST
from emjax.targets.polarity import ExclusivePolarity, Polarity
from emjax.targets.signed_distance import signed_distance
from emjax.targets.skeleton_distance import skeleton_distance

TOUCHING = jnp.array([[[0, 0, 0, 0, 0], [0, 1, 1, 2, 0], [0, 1, 1, 2, 0], [0, 0, 0, 0, 0]]])


def _known(values_and_mask) -> np.ndarray:
    """One section with what is masked as -1."""
    values, mask = (np.asarray(a)[0, ..., 0] for a in values_and_mask)
    return np.where(mask > 0, values, -1)


def test_06_contours_lie_on_both_sides_of_each_edge_but_are_masked_at_the_border_of_the_crop():
    labels = np.pad(np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]]), 1, mode="edge")[None]
    for edges in ("all", "instances", "touching"):
        found = _known(contour(jnp.asarray(labels), 1, edges))
        assert found[1:-1, 1:-1].tolist() == [[0, 1, 1], [1, 1, 1], [1, 1, 1]]


def test_06_contours_of_touching_objects_and_instances_leave_out_the_background_s_side():
    wide = jnp.pad(TOUCHING, ((0, 0), (1, 1), (1, 1)))
    found = {
        e: _known(contour(wide, 1, e))[1:-1, 1:-1].tolist()
        for e in ("all", "instances", "touching")
    }
    assert found["touching"] == [[0] * 5, [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0] * 5]
    assert found["all"] == [[0, 1, 1, 1, 0], [1] * 5, [1] * 5, [0, 1, 1, 1, 0]]
    # There, it equals 'all'.
    assert found["instances"] == [[0] * 5, [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0] * 5]


def test_07_affinity_of_a_row_but_what_has_no_partner_is_masked():
    values, mask = affinities(jnp.array([[[1, 1, 2, 2, 0]]]), [(0, 0, -1)])
    assert values.ravel().tolist() == [0, 1, 0, 1, 0]
    assert mask.ravel().tolist() == [0, 1, 1, 1, 1]


def test_08_semantic_distance_with_alpha_and_beta():
    labels = jnp.zeros((1, 40, 40), jnp.int32).at[0, 10:30, 10:30].set(1)
    values, _ = signed_distance(labels, 8.0, 50.0, plane=True)
    np.testing.assert_allclose(values[0, 19, 19, 0], 0.84828, atol=1e-5)
    np.testing.assert_allclose(values[0, 0, 20, 0], -0.19738, atol=1e-5)
    np.testing.assert_allclose(np.min(values), -0.27553, atol=1e-5)


def test_09_each_object_has_a_largest_distance_of_1_but_background_is_0():
    values = _known(jax.jit(instance_distance)(jnp.array([[[0, 1, 1, 1, 0, 2, 2, 2, 2, 2, 0]]])))
    assert values[0].tolist() == [
        0,
        0.5,
        1,
        0.5,
        0,
        *(np.float32([1, 2, 3, 2, 1]) / np.float32(3)),
        0,
    ]


def test_10_skeleton_aware_distance_is_in_0_to_1_but_background_is_0():
    values = _known(skeleton_distance(jnp.array([[[0, 1, 1, 1, 1, 1, 0]]]), 0.8))
    np.testing.assert_allclose(
        values[0], np.array([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0]) ** 0.8, rtol=1e-5
    )


def test_11_polarity_has_three_channels_or_one_of_three_classes():
    labels = jnp.array([[[0, 1, 2, 3, 4]]])
    values, _ = Polarity().make(labels)
    assert values[0, 0].tolist() == [[0, 0, 0], [1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 1, 1]]
    exclusive, _ = ExclusivePolarity().make(labels)
    assert np.argmax(exclusive[0, 0], -1).tolist() == [0, 1, 2, 1, 2]


def test_12_energy_has_11_classes_that_are_decoded_from_scores():
    distances = jnp.array([-1, 0, 0.05, 0.1, 0.55, 0.95, 1.0])
    assert quantise(distances).tolist() == [0, 1, 1, 2, 6, 10, 10]
    assert Energy().channels == 11


def test_13_foreground_is_all_ids_above_0():
    assert foreground(jnp.array([[[0, 1, 700]]]))[0].ravel().tolist() == [0, 1, 1]


def _affinities(array: np.ndarray) -> Prediction:
    return Prediction(array.astype(np.float32), ("affinity",) * 3, NEAREST)


def test_19_affinities_of_1_are_one_object_and_of_0_none():
    ones = decode(_affinities(np.ones((3, 4, 5, 6))), "affinity_components", {"min_size": 0})
    assert np.all(ones == 1)
    assert not decode(_affinities(np.zeros((3, 4, 5, 6))), "affinity_components").any()
    noise = _affinities(np.random.default_rng(0).random((3, 6, 8, 8)))
    counts = [
        len(np.unique(decode(noise, "affinity_components", {"threshold": t, "min_size": 0})))
        for t in (0.3, 0.5, 0.7)
    ]
    assert counts == sorted(counts)
    found = decode(noise, "affinity_components", {"threshold": 0.5, "min_size": 3})
    ids, sizes = np.unique(found[found > 0], return_counts=True)
    assert ids.tolist() == list(range(1, len(ids) + 1)) and sizes.min() >= 3


def test_20_cubes_as_bytes_and_as_floats_are_the_same_objects():
    cubes = np.zeros((1, 8, 8, 20), np.float32)
    cubes[0, 1:7, 1:7, 1:7] = cubes[0, 1:7, 1:7, 12:18] = 1
    for array in (cubes, (cubes * 255).astype(np.uint8)):
        found = decode(Prediction(array, ("foreground",), (None,)), "components")
        assert set(np.unique(found)) == {0, 1, 2}


def test_21_labels_come_back_whole_from_their_affinities_where_theirs_lose_objects():
    cells = np.random.default_rng(0).permutation(np.arange(1, 41)).reshape(2, 4, 5)
    labels = np.kron(cells, np.ones((4, 5, 4), int)).astype(np.int32)
    values, _ = affinities(jnp.asarray(labels), NEAREST)
    prediction = _affinities(np.moveaxis(np.asarray(values), -1, 0))
    found = decode(prediction, "affinity_components", {"min_size": 0})
    pairs = np.unique(np.stack([labels.ravel(), found.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(found)) == 40


def test_22_low_probabilities_of_all_three_channels_are_no_object():
    low = np.full((3, 4, 16, 16), 5, np.uint8)
    prediction = Prediction(low, ("foreground", "contour", "distance"), (None,) * 3)
    assert not decode(prediction, "distance").any()
