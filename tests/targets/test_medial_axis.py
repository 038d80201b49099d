from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.targets.medial_axis import axis_distance, medial_axis, nearest_edge

from .small_labels import SPACINGS, blocks, by_scipy

_axis = jax.jit(medial_axis, static_argnames=("plane", "num_ids"))
_distance = jax.jit(axis_distance, static_argnames="plane")
ONES = jnp.ones(3)


@pytest.mark.parametrize("plane", [False, True])
def test_the_nearest_edge_is_where_the_distance_says(plane):
    labels = blocks(2, (4, 8, 9))
    scale = np.asarray(SPACINGS[1])
    distance, edge = (
        np.asarray(a)
        for a in jax.jit(nearest_edge, static_argnums=2)(
            jnp.asarray(labels), jnp.asarray(scale), plane
        )
    )
    np.testing.assert_allclose(distance, by_scipy(labels, scale, plane), rtol=1e-5)
    here = np.indices(labels.shape)
    away = np.sqrt((((edge - here) * scale[:, None, None, None]) ** 2).sum(0))
    known = np.isfinite(distance)
    np.testing.assert_allclose(away[known], distance[known], rtol=1e-5)
    place = tuple(edge.astype(int)[:, known])
    assert np.all(labels[place] != labels[known])


def test_the_axis_of_a_bar_is_its_middle_row():
    labels = np.zeros((1, 9, 16), np.int32)
    labels[0, 2:7, 2:14] = 3
    axis, _ = _axis(jnp.asarray(labels), ONES, plane=True)
    rows, columns = np.nonzero(np.asarray(axis)[0])
    assert set(rows) == {4} and set(range(4, 12)) <= set(columns)
    # The axis of the next object does not count.
    labels[0, 2:7, 11:14] = 4
    axis, _ = _axis(jnp.asarray(labels), ONES, plane=True)
    distance = np.asarray(_distance(jnp.asarray(labels), axis, ONES, plane=True))[0]
    assert distance[4, 12] == 0 and distance[4, 5] == 0 and distance[2, 5] == 2


def test_every_object_has_an_axis_and_is_reached_by_it():
    labels = blocks(3, (4, 8, 9))
    axis, _ = _axis(jnp.asarray(labels), ONES)
    assert set(np.unique(labels[np.asarray(axis)])) == set(np.unique(labels)) - {0}
    found = np.asarray(_distance(jnp.asarray(labels), axis, ONES))
    # By brute force, where the object goes straight there: never nearer than the nearest of its own voxels.
    for label in set(np.unique(labels)) - {0}:
        own = np.argwhere(np.asarray(axis) & (labels == label))
        voxels = np.argwhere(labels == label)
        nearest = np.sqrt(((voxels[:, None] - own) ** 2).sum(-1)).min(1)
        reached = found[labels == label]
        assert np.all(reached >= nearest - 1e-5)
