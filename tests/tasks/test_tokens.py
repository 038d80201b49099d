from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment.recipes import make_recipe, window_size
from emjax.augment.views import View, make_views
from emjax.parallel.compile import jit
from emjax.tasks.tokens import choose_positions, grid_positions, pair_points, read_level

CROP_SIZE = (4, 16, 16)


def test_grid_positions_are_the_centres_of_the_cells():
    found = grid_positions((2, 4, 4), (1, 2, 4))
    expected = list(itertools.product((0.0, 1.0), (0.5, 2.5), (1.5,)))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(grid_positions((1, 1, 3), (1, 1, 1))[:, 2], (0, 1, 2))


@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 2), (2, 4, 8)])
def test_a_map_of_its_own_coordinates_is_read_back(stride):
    size = (4, 16, 16)
    cells = tuple(a // b for a, b in zip(size, stride, strict=True))
    level = grid_positions(size, stride).reshape(1, *cells, 3)
    rng = np.random.default_rng(0)
    # Between the outermost centres; beyond them the border is read.
    low = (np.array(stride) - 1) / 2
    high = np.array(size) - 1 - low
    points = jnp.asarray(rng.uniform(low, high, (1, 40, 3)), jnp.float32)
    np.testing.assert_allclose(read_level(level, points, stride), points, atol=1e-4)
    outside = read_level(level, jnp.asarray([[[-5.0, 99.0, 3.5]]]), stride)[0, 0]
    np.testing.assert_allclose(outside[:2], (low[0], high[1]), atol=1e-5)


def test_chosen_positions_are_distinct_cells():
    grid = {tuple(p) for p in np.asarray(grid_positions((2, 8, 8), (1, 2, 2)))}
    chosen = np.asarray(choose_positions(jax.random.key(0), 10, (2, 8, 8), (1, 2, 2)))
    assert len({tuple(p) for p in chosen}) == 10 and {tuple(p) for p in chosen} <= grid
    everything = np.asarray(choose_positions(jax.random.key(1), 999, (2, 8, 8), (1, 2, 2)))
    assert {tuple(p) for p in everything} == grid and len(everything) == len(grid)
    other = np.asarray(choose_positions(jax.random.key(2), 10, (2, 8, 8), (1, 2, 2)))
    assert not np.array_equal(chosen, other)


@pytest.mark.parametrize(
    ("own_orientation", "strengths"), [(False, ("clean", "clean")), (True, ("weak", "strong"))]
)
def test_pairs_show_the_same_tissue(own_orientation, strengths):
    """The windows hold one of their coordinates as grey values: both ends of a pair read the same."""
    recipe = make_recipe("ours", max_offset=(1, 6, 6), own_orientation=own_orientation)
    size = window_size(CROP_SIZE, recipe)
    coordinates = np.indices(size) / np.array(size).reshape(3, 1, 1, 1)
    # Two crops for each axis.
    windows = jnp.asarray(np.repeat(coordinates, 2, axis=0), jnp.float32)

    def pairs_and_values(key, windows):
        keys = jax.random.split(key, len(windows))
        views = jax.vmap(lambda k, w: make_views(k, w, CROP_SIZE, recipe, strengths))(keys, windows)
        # Targets are the clean content: no defect moved them.
        undisturbed = [
            view._replace(displacement=jnp.zeros_like(view.displacement)) for view in views
        ]
        points = grid_positions(CROP_SIZE, (1, 2, 2))
        pairs = pair_points(*undisturbed, points)
        values = [
            read_level(view.target[..., None], at, (1, 1, 1))[..., 0]
            for view, at in zip(views, (pairs.first, pairs.second), strict=True)
        ]
        return pairs, values, pair_points(*views, points)

    pairs, (first, second), displaced = jit(pairs_and_values)(jax.random.key(0), windows)
    valid = np.asarray(pairs.valid)
    assert 0.1 < valid.mean() <= 1
    assert pairs.first.shape == pairs.second.shape == (6, 4 * 8 * 8, 3)
    # A voxel apart is 1 / size.
    tolerance = np.repeat(0.02 / np.array(size), 2)[:, None]
    assert np.all(np.abs(first - second)[valid] < np.broadcast_to(tolerance, valid.shape)[valid])
    # What defects moved is found where it went, inside the view.
    found = np.asarray(displaced.second)[np.asarray(displaced.valid)]
    assert np.all(found >= 0) and np.all(found <= np.array(CROP_SIZE) - 1)


def test_points_of_each_crop():
    """By hand: the second view was cut one section and two rows later, and is mirrored in x."""
    size = (4, 8, 8)

    def view(matrix, offset):
        return View(
            image=jnp.zeros((2, *size)),
            target=jnp.zeros((2, *size)),
            matrix=jnp.broadcast_to(jnp.asarray(matrix, jnp.float32), (2, 3, 3)),
            offset=jnp.broadcast_to(jnp.asarray(offset, jnp.float32), (2, 3)),
            displacement=jnp.zeros((2, *size, 2)),
            valid=jnp.ones((2, *size), bool).at[1, 2, 3, 3].set(False),
        )

    first = view(np.eye(3), (0, 0, 0))
    second = view(np.diag([1, 1, -1]), (1, 2, 7))
    points = jnp.asarray([[[2, 5, 3], [0, 5, 3]], [[3, 4, 1], [2, 3, 3]]], jnp.float32)
    pairs = pair_points(first, second, points)
    np.testing.assert_allclose(
        pairs.second, points * jnp.array([1, 1, -1]) + jnp.array([-1, -2, 7]), atol=1e-5
    )
    # Above the second view; and destroyed in the first.
    np.testing.assert_array_equal(pairs.valid, [[True, False], [True, False]])
