"""Views: registration of targets, images and views, on windows that encode coordinates."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from emjax.augment import views
from emjax.augment.recipes import make_recipe, shared_size, window_size
from emjax.errors import InputError

CROP = (6, 32, 32)
STILL = {"orientation_probability": 0, "rescale_probability": 0, "elastic_probability": 0}
GREY = {"intensity_probability": 0, "noise_probability": 0, "blur_probability": 0}


def moved_recipe(**fields):
    """Displacing and destroying defects only, so that the image still encodes coordinates."""
    weights = {"misalign": 1.0, "fold": 1.0, "missing": 0.5, "cutout": 0.5}
    fields = {"max_offset": (2, 8, 8), "strong_weights": weights, "strong_count": (2, 3), **fields}
    return make_recipe("ours", **GREY, **fields)


@functools.cache
def maker(recipe, strengths=("weak", "strong")):
    return jax.jit(
        lambda seed, w: views.make_views(jax.random.key(seed), w, CROP, recipe, strengths)
    )


def coordinate_windows(recipe):
    shape = window_size(CROP, recipe)
    return [jnp.asarray(c / 64, jnp.float32) for c in np.indices(shape)]


def grid_points(shape):
    return np.stack(np.indices(shape), axis=-1).reshape(-1, 3).astype(np.float32)


def test_target_is_the_window_at_matrix_p_plus_offset():
    recipe = moved_recipe(**STILL)
    make, windows, points = maker(recipe), coordinate_windows(recipe), grid_points(CROP)
    offsets, matrices = set(), set()
    for seed in range(4):
        both = [make(seed, w) for w in windows]
        for view in (0, 1):
            one = both[0][view]
            expected = points @ np.asarray(one.matrix).T + np.asarray(one.offset)
            found = np.stack([np.asarray(b[view].target) for b in both], -1).reshape(-1, 3) * 64
            np.testing.assert_allclose(found, expected, atol=1e-4)
            offsets.add(tuple(np.asarray(one.offset)))
            matrices.add(np.asarray(one.matrix).tobytes())
    assert len(offsets) > 4 and len(matrices) > 3


def test_image_content_comes_from_to_window():
    recipe = moved_recipe(**STILL)
    make, windows, points = maker(recipe), coordinate_windows(recipe), grid_points(CROP)
    moved = destroyed = 0
    for seed in range(6):
        both = [make(seed, w) for w in windows]
        view = both[0].second
        expected = np.asarray(views.to_window(view, jnp.asarray(points)))
        found = np.stack([np.asarray(b.second.image) for b in both], -1).reshape(-1, 3) * 64
        valid = np.asarray(view.valid).ravel()
        np.testing.assert_allclose(found[valid], expected[valid], atol=1e-3)
        moved += np.abs(view.displacement).max() > 1
        destroyed += (~valid).any()
    assert moved >= 2 and destroyed >= 2


@pytest.mark.parametrize("fields", [STILL, {}])
def test_from_window_inverts_to_window(fields):
    recipe = moved_recipe(**fields)
    windows = coordinate_windows(recipe)
    points = jnp.asarray(
        np.random.default_rng(0).uniform(0, np.asarray(CROP) - 1, (500, 3)), jnp.float32
    )
    trip = jax.jit(lambda v, p: views.from_window(v, views.to_window(v, p)))
    shares = []
    for seed in range(6):
        for view in maker(recipe)(seed, windows[0]):
            found, ok = trip(view, points)
            known = np.asarray(views.valid_at(view, points))
            assert np.asarray(ok)[known].mean() > 0.98
            error = np.abs(np.asarray(found - points))[np.asarray(ok) & known]
            assert np.quantile(error, 0.99) < 1e-2
            shares.append(known.mean())
    assert min(shares) < 0.95 and max(shares) == 1.0


def test_twins_show_the_same_tissue_after_all_shared_geometry():
    recipe = moved_recipe()
    rng = np.random.default_rng(1)
    window = ndimage.gaussian_filter(rng.random(window_size(CROP, recipe)), (0.5, 2, 2))
    window = jnp.asarray((window - window.min()) / np.ptp(window), jnp.float32)
    points = jnp.asarray(grid_points(CROP))
    compared = 0
    for seed in range(6):
        first, second = maker(recipe)(seed, window)
        twins, ok = views.from_window(second, views.to_window(first, points))
        ok = np.asarray(ok)
        read = ndimage.map_coordinates(np.asarray(second.image), np.asarray(twins).T, order=1)
        difference = np.abs(read - np.asarray(first.image).ravel())[ok]
        assert np.median(difference) < 0.01 and np.quantile(difference, 0.95) < 0.05
        compared += ok.sum()
    assert compared > points.shape[0]


def test_from_window_refuses_what_is_outside_or_destroyed():
    recipe = moved_recipe(**STILL, strong_weights={"missing": 1.0}, strong_count=(1, 1))
    view = maker(recipe)(0, coordinate_windows(recipe)[0]).second
    points = jnp.asarray(grid_points(shared_size(CROP, recipe)))
    found, ok = (np.asarray(a) for a in views.from_window(view, points))
    inside = ((found >= 0) & (found <= np.asarray(CROP) - 1)).all(axis=1)
    assert inside.sum() == np.prod(CROP)
    assert not ok[~inside].any()
    voxels = found[inside].astype(int)
    np.testing.assert_array_equal(ok[inside], np.asarray(view.valid)[tuple(voxels.T)])


def test_clean_views_show_their_targets_and_uint8_is_scaled():
    recipe = make_recipe("ours", max_offset=(2, 8, 8))
    window = np.random.default_rng(2).integers(0, 256, window_size(CROP, recipe), np.uint8)
    as_bytes = maker(recipe, ("clean", "clean"))(0, jnp.asarray(window))
    as_floats = maker(recipe, ("clean", "clean"))(0, jnp.asarray(window / 255, jnp.float32))
    for view, other in zip(as_bytes, as_floats, strict=True):
        np.testing.assert_array_equal(view.image, view.target)
        np.testing.assert_allclose(view.target, other.target, atol=1e-6)
        assert view.valid.all() and not view.displacement.any()


def test_noise_differs_between_the_views():
    quiet = {"intensity_probability": 0, "blur_probability": 0, "noise_probability": 1}
    recipe = make_recipe("ours", **STILL, **quiet, max_offset=(0, 0, 0), own_orientation=False)
    first, second = maker(recipe, ("weak", "weak"))(3, jnp.full(CROP, 0.5))
    np.testing.assert_array_equal(first.target, second.target)
    a, b = (np.asarray(v.image).ravel() for v in (first, second))
    assert a.std() > 0 and b.std() > 0 and abs(np.corrcoef(a, b)[0, 1]) < 0.05


def test_batches_and_odd_shapes():
    recipe = moved_recipe(max_offset=(1, 3, 5))
    crop = (3, 21, 30)
    windows = jnp.zeros((2, *window_size(crop, recipe)), jnp.uint8)
    keys = jax.random.split(jax.random.key(4), 2)
    both = jax.jit(jax.vmap(lambda k, w: views.make_views(k, w, crop, recipe)))(keys, windows)
    assert both.second.image.shape == (2, *crop) and both.first.displacement.shape == (2, *crop, 2)
    assert jnp.isfinite(both.second.image).all()


def test_released_keeps_the_target_in_place():
    recipe = make_recipe("released")
    window = np.random.default_rng(5).random(window_size(CROP, recipe), np.float32)
    first, second = maker(recipe)(6, jnp.asarray(window))
    np.testing.assert_array_equal(first.target, second.target)
    np.testing.assert_array_equal(first.matrix, np.eye(3))
    assert not first.offset.any() and not second.displacement.any() and second.valid.all()
    assert (np.asarray(first.image) != np.asarray(second.image)).any()


def test_mistakes_are_named():
    recipe = make_recipe("ours")
    with pytest.raises(InputError, match="needs"):
        views.make_views(jax.random.key(0), jnp.zeros(CROP), CROP, recipe)
    window = jnp.zeros(window_size(CROP, recipe))
    with pytest.raises(InputError, match="must be two of"):
        views.make_views(jax.random.key(1), window, CROP, recipe, ("weak", "harsh"))
