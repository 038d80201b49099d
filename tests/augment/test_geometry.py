"""Orientation, rescaling and elastic deformation: by hand, registration, scipy as reference."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from emjax.augment import geometry

SHAPE = (4, 12, 12)


def volume(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def all_orientations():
    for code in range(16):
        yield geometry.Orientation(*(jnp.asarray(bool(code >> i & 1)) for i in range(4)))


def test_orient_by_hand():
    image = jnp.asarray([[[1.0, 2.0], [3.0, 4.0]]])
    no, yes = jnp.asarray(False), jnp.asarray(True)
    turned = geometry.orient(image, geometry.Orientation(no, yes, no, yes))
    np.testing.assert_array_equal(turned[0], [[2.0, 4.0], [1.0, 3.0]])


def test_orientation_map_finds_the_content_of_all_sixteen():
    image = jnp.asarray(volume())
    points = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3)
    seen = set()
    for orientation in all_orientations():
        turned = np.asarray(geometry.orient(image, orientation))
        matrix, offset = map(np.asarray, geometry.orientation_map(orientation, SHAPE))
        origin = (points @ matrix.T + offset).astype(int)
        np.testing.assert_array_equal(turned.ravel(), np.asarray(image)[tuple(origin.T)])
        seen.add(turned.tobytes())
    assert len(seen) == 16


def test_no_transpose_where_sides_differ():
    keys = jax.random.split(jax.random.key(0), 64)
    drawn = jax.vmap(lambda k: geometry.draw_orientation(k, (4, 12, 10)))(keys)
    assert not drawn.transpose.any()
    assert drawn.flip_z.any() and drawn.flip_y.any() and drawn.flip_x.any()


def test_the_order_of_sections_is_kept_where_it_shall_be():
    def draw(reverse):
        keys = jax.random.split(jax.random.key(0), 64)
        return jax.vmap(lambda k: geometry.draw_orientation(k, SHAPE, 1.0, reverse))(keys)

    free, kept = draw(True), draw(False)
    assert free.flip_z.any() and not kept.flip_z.any()
    for one, other in zip(free[1:], kept[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_probability_zero_is_the_identity():
    image = jnp.asarray(volume())
    np.testing.assert_array_equal(geometry.flip(jax.random.key(2), image, probability=0.0), image)
    for nearest in (False, True):
        warped = geometry.elastic(jax.random.key(2), image, nearest=nearest, probability=0.0)
        np.testing.assert_array_equal(warped.volume, image)
        assert not warped.displacement.any() and warped.valid.all()
    same = geometry.rescale(jax.random.key(2), image, (4, 8, 8), probability=0.0)
    np.testing.assert_array_equal(same, image[:, 2:10, 2:10])


@pytest.mark.parametrize("shape", [(4, 12, 12), (5, 13, 11)])
def test_zoom_one_reads_the_centre_exactly(shape):
    image = jnp.asarray(volume(shape))
    out = geometry.zoom_plane(image, 1.0, (3, 8, 8))
    np.testing.assert_array_equal(out, geometry.central(image, (3, 8, 8)))


@pytest.mark.parametrize("zoom", [0.75, 1.2])
def test_zoom_equals_scipy(zoom):
    image = volume((2, 20, 20))
    out = geometry.zoom_plane(jnp.asarray(image), zoom, (2, 14, 14))
    along = 3 + 6.5 + (np.arange(14) - 6.5) / zoom
    grid = np.meshgrid(np.arange(2), along, along, indexing="ij")
    reference = ndimage.map_coordinates(image, grid, order=1, mode="nearest")
    np.testing.assert_allclose(out, reference, atol=2e-6)


def test_sample_sections_equals_scipy():
    image = volume((3, 9, 11))
    rng = np.random.default_rng(1)
    y, x = rng.uniform(-6, 14, (3, 9, 11)), rng.uniform(-6, 16, (3, 9, 11))
    z = np.broadcast_to(np.arange(3)[:, None, None], y.shape)
    out = geometry.sample_sections(jnp.asarray(image), jnp.asarray(y), jnp.asarray(x))
    reference = ndimage.map_coordinates(image, [z, y, x], order=1, mode="mirror")
    np.testing.assert_allclose(out, reference, atol=1e-5)
    out = geometry.sample_sections(jnp.asarray(image), jnp.asarray(y), jnp.asarray(x), nearest=True)
    reference = ndimage.map_coordinates(
        image, [z, np.round(y), np.round(x)], order=0, mode="mirror"
    )
    np.testing.assert_array_equal(out, reference)


@pytest.mark.parametrize("controls", [1, 2, 4, 5])
def test_spline_matrix_equals_scipy(controls):
    values = np.random.default_rng(2).random(controls)
    reference = ndimage.zoom(values, 18 / controls, order=3)
    np.testing.assert_allclose(geometry.spline_matrix(18, controls) @ values, reference, atol=1e-5)


@pytest.mark.parametrize("nearest", [False, True])
def test_elastic_content_comes_from_the_displacement(nearest):
    shape = (4, 24, 24)
    rows, columns = (
        np.broadcast_to(c, shape) for c in np.meshgrid(*[np.arange(24.0)] * 2, indexing="ij")
    )
    for coordinate, axis in ((rows, 0), (columns, 1)):
        warped = geometry.elastic(
            jax.random.key(3), jnp.asarray(coordinate), (2, 8, 8), 1.5, 4, nearest
        )
        expected = coordinate + warped.displacement[..., axis]
        np.testing.assert_allclose(
            np.asarray(warped.volume)[warped.valid], expected[warped.valid], atol=1e-4
        )
        assert 0.1 < np.abs(warped.displacement).mean() < 4
        assert warped.valid.mean() > 0.7


def test_rescale_stays_within_its_range():
    ramp = jnp.broadcast_to(jnp.arange(48.0), (1, 48, 48))
    keys = jax.random.split(jax.random.key(4), 64)
    out = jax.vmap(lambda k: geometry.rescale(k, ramp, (1, 32, 32)))(keys)
    step = np.asarray(out[:, 0, 16, 20] - out[:, 0, 16, 12]) / 8
    assert step.min() >= 20 / 32 - 1e-4 and step.max() <= 1.5 + 1e-4
    assert np.ptp(step) > 0.5


def test_reach():
    assert geometry.reach(64, (0.75, 1.3)) >= 63 / 0.75 + 1
    assert geometry.reach(65, (0.75, 1.3)) % 2 == 1
    assert geometry.reach(64, (1.0, 1.3)) == 64
    assert geometry.released_reach(160, (2 / 3, 1.5)) == 240
