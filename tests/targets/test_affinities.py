from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emjax.errors import InputError
from emjax.targets.affinities import affinities
from emjax.targets.offsets import LONG_RANGE, NEAREST


def voronoi(shape: tuple[int, int, int], cells: int, seed: int = 0) -> np.ndarray:
    """Cells of random points, ids from 1, int32, each connected through faces."""
    rng = np.random.default_rng(seed)
    points = rng.choice(np.prod(shape), cells, replace=False)
    seeds = np.zeros(shape, np.int32)
    seeds.ravel()[points] = np.arange(1, cells + 1)
    _, closest = distance_transform_edt(seeds == 0, return_indices=True)
    labels = seeds[tuple(closest)]
    # A sharp tip of a cell may hang on by an edge alone, which no nearest affinity sees: it goes.
    for cell in range(1, cells + 1):
        parts, count = label(labels == cell)
        if count > 1:
            largest = np.argmax(np.bincount(parts.ravel())[1:]) + 1
            labels[(parts > 0) & (parts != largest)] = 0
    return labels


def decode(values: np.ndarray, offsets) -> np.ndarray:
    """Connected components of all edges above one half; voxels without an edge are alone."""
    shape = values.shape[:3]
    index = np.arange(np.prod(shape)).reshape(shape)
    firsts, seconds = [], []
    for channel, offset in enumerate(offsets):
        here = np.argwhere(values[..., channel] > 0.5)
        there = here + np.asarray(offset)
        assert np.all(there >= 0), "an edge leaves the crop"
        firsts.append(index[tuple(here.T)])
        seconds.append(index[tuple(there.T)])
    edges = np.concatenate(firsts), np.concatenate(seconds)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(index.size, index.size))
    return connected_components(graph, directed=False)[1].reshape(shape)


def arand(found: np.ndarray, true: np.ndarray) -> float:
    """Adapted Rand error over the voxels of objects, written from its definition."""
    found, true = found[true > 0], true[true > 0]
    table = np.zeros((true.max() + 1, found.max() + 1))
    np.add.at(table, (true, found), 1)
    both = np.sum(table**2)
    return 1 - 2 * both / (np.sum(table.sum(0) ** 2) + np.sum(table.sum(1) ** 2))


def test_by_hand():
    values, mask = affinities(jnp.array([[[1, 1, 2, 2, 0, 0, -1, 2]]]), [(0, 0, -1)])
    # PyTorch Connectomics' example, [1, 1, 2, 2, 0] -> [0, 1, 0, 1, 0], and beyond: background
    # joins nothing, and unknown pairs are masked.
    np.testing.assert_array_equal(values[0, 0, :, 0], [0, 1, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(mask[0, 0, :, 0], [0, 1, 1, 1, 1, 1, 0, 0])


def test_equals_a_loop_over_voxels():
    labels = np.random.default_rng(1).integers(-1, 3, (4, 5, 6)).astype(np.int32)
    offsets = [*NEAREST, (-2, -1, 0), (0, -3, -3), (-9, 0, 0)]
    values, mask = jax.jit(affinities, static_argnums=1)(jnp.asarray(labels), tuple(offsets))
    for c, offset in enumerate(offsets):
        for p in np.ndindex(labels.shape):
            q = tuple(a + b for a, b in zip(p, offset, strict=True))
            inside = min(q) >= 0
            known = inside and labels[p] != -1 and labels[q] != -1
            assert mask[(*p, c)] == known
            assert values[(*p, c)] == (known and labels[p] == labels[q] and labels[p] > 0)


def test_masks_are_exactly_the_borders_where_all_is_labelled():
    _, mask = affinities(jnp.ones((5, 10, 30), jnp.int32), LONG_RANGE)
    for c, offset in enumerate(LONG_RANGE):
        inner = np.zeros((5, 10, 30))
        inner[tuple(slice(-o, None) for o in offset)] = 1
        np.testing.assert_array_equal(mask[..., c], inner)


@pytest.mark.parametrize("background", [False, True])
def test_decoding_gives_the_labels_back(background):
    labels = voronoi((12, 16, 20), 40)
    if background:
        # One object in four goes, so that objects also end at background.
        labels[labels % 4 == 0] = 0
    values, _ = affinities(jnp.asarray(labels), NEAREST)
    found = decode(np.asarray(values), NEAREST)
    assert len(np.unique(found[labels > 0])) == len(np.unique(labels[labels > 0]))
    assert arand(found, labels) == 0
    # The check can fail: read at the wrong end of the edge, objects fall apart.
    shifted = np.roll(values, 1, axis=(0, 1, 2))
    assert arand(decode(np.where(_inside(shifted.shape), shifted, 0), NEAREST), labels) > 0.01


def _inside(shape) -> np.ndarray:
    inside = np.ones(shape, bool)
    for channel, offset in enumerate(NEAREST):
        axis = offset.index(-1)
        inside[(slice(None),) * axis + (0,)][..., channel] = False
    return inside


def test_a_batch_equals_its_crops():
    labels = jnp.asarray(np.random.default_rng(2).integers(-1, 4, (3, 4, 5, 6)), jnp.int32)
    values, mask = jax.jit(jax.vmap(lambda x: affinities(x, NEAREST)))(labels)
    for i in range(3):
        one, known = affinities(labels[i], NEAREST)
        np.testing.assert_array_equal(values[i], one)
        np.testing.assert_array_equal(mask[i], known)


def test_long_range_holds_the_nearest_first_and_reaches_far_in_the_plane():
    assert LONG_RANGE[:3] == NEAREST and len(set(LONG_RANGE)) == 12
    assert np.array(LONG_RANGE).min(axis=0).tolist() == [-4, -27, -27]


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([], "at least one offset"),
        ([(0, 0, 1)], "offset 0,0,1 is positive.*use 0,0,-1"),
        ([(0, 0, 0)], "to itself"),
        ([(0, -1)], "2 numbers"),
        ([(-1, 0, 0), (-1, 0, 0)], "given twice"),
    ],
)
def test_mistakes_are_named(offsets, message):
    with pytest.raises(InputError, match=message):
        affinities(jnp.zeros((2, 2, 2), jnp.int32), offsets)
