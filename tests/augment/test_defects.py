"""Defects: slow references, and the record of what moved and what was destroyed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from emjax.augment import defects

SHAPE = (6, 40, 44)
WARPING = ("cutout", "misalign", "fold", "missing")


def volume(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", [*WARPING, "section_blur"])
def test_probability_zero_is_the_identity_and_one_acts(name):
    operator, image = getattr(defects, name), jnp.asarray(volume())
    out = operator(jax.random.key(0), image, probability=0.0)
    if name in WARPING:
        assert out.valid.all() and not out.displacement.any()
        out = out.volume
    np.testing.assert_array_equal(out, image)
    keys = jax.random.split(jax.random.key(1), 4)
    out = jax.vmap(operator, (0, None))(keys, image)
    out = np.asarray(out.volume if name in WARPING else out)
    assert (out != image).any() and out.min() >= 0 and out.max() <= 1


def test_cuboid_mask_equals_loops():
    rng = np.random.default_rng(2)
    starts, sizes = rng.integers(0, 30, (9, 3)), np.asarray([3, 7, 7])
    used = np.arange(9) < 6
    expected = np.zeros(SHAPE, bool)
    for z, y, x in starts[used]:
        expected[z : z + 3, y : y + 7, x : x + 7] = True
    mask = defects.cuboid_mask(jnp.asarray(starts), jnp.asarray(sizes), jnp.asarray(used), SHAPE)
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("name", ["cutout", "missing"])
def test_destroyed_is_black_and_recorded(name):
    image = jnp.asarray(volume())
    keys = jax.random.split(jax.random.key(3), 3)
    out = jax.vmap(getattr(defects, name), (0, None))(keys, image)
    for volume_, valid in zip(out.volume, out.valid, strict=True):
        np.testing.assert_array_equal(volume_, np.where(valid, image, 0))


def test_cutout_keeps_its_density_on_small_crops():
    share = {}
    for shape in ((18, 160, 160), (16, 64, 64)):
        image, keys = jnp.ones(shape), jax.random.split(jax.random.key(4), 16)
        share[shape] = float(jax.vmap(lambda k, v=image: defects.cutout(k, v).volume)(keys).mean())
    assert all(0.6 < value < 0.9 for value in share.values()), share


def test_shift_sections_equals_numpy():
    image = volume()
    shifts = np.random.default_rng(5).integers(-9, 10, (6, 2))
    out = defects.shift_sections(jnp.asarray(image), jnp.asarray(shifts))
    padded = np.pad(image, ((0, 0), (9, 9), (9, 9)), mode="reflect")
    for z, (dy, dx) in enumerate(shifts):
        np.testing.assert_array_equal(out.volume[z], padded[z, 9 + dy : 49 + dy, 9 + dx : 53 + dx])
        assert out.valid[z].sum() == (40 - abs(dy)) * (44 - abs(dx))


def test_misalign_slips_or_steps():
    image = jnp.asarray(volume((12, 40, 40)))
    keys = jax.random.split(jax.random.key(6), 64)
    fields = jax.vmap(lambda k: defects.misalign(k, image).displacement[:, 0, 0])(keys)
    kinds = set()
    for shifts in np.asarray(fields):
        moved = np.flatnonzero(shifts.any(axis=1))
        if len(moved) > 1:
            step = len(np.unique(shifts[moved[0] :], axis=0)) == 1
            kinds.add("step" if step else "slip")
        assert np.abs(shifts).max() <= 10
    assert kinds == {"step", "slip"}


def coordinates(shape):
    return [np.broadcast_to(c, shape).astype(np.float32) for c in np.indices(shape)]


@pytest.mark.parametrize("name", ["misalign", "fold"])
def test_content_comes_from_the_displacement(name):
    shape = (6, 64, 64)
    moved = 0
    for seed in range(4):
        for axis, coordinate in enumerate(coordinates(shape)[1:]):
            out = getattr(defects, name)(jax.random.key(seed), jnp.asarray(coordinate / 64))
            valid = np.asarray(out.valid)
            expected = (coordinate + np.asarray(out.displacement)[..., axis]) / 64
            np.testing.assert_allclose(np.asarray(out.volume)[valid], expected[valid], atol=1e-5)
            moved += np.abs(out.displacement)[valid].max() > 1
    assert moved >= 2


def test_fold_field_by_hand():
    start, stop = jnp.asarray([10.0, 0.0]), jnp.asarray([10.0, 5.0])
    field, band = defects.fold_field((21, 3), start, stop, 2, 6, 0.5)
    np.testing.assert_array_equal(np.flatnonzero(band[:, 1]), [8, 9, 10, 11, 12])
    # Tissue from distance 6 appears at the band's edge, 2; the shift fades by half a voxel a voxel.
    np.testing.assert_allclose(field[[13, 14, 15, 7, 6], 1, 0], [3.5, 3, 2.5, -3.5, -3])
    np.testing.assert_array_equal(field[:, :, 1], 0)


def test_fold_is_confined_to_few_sections_and_black_only_in_its_band():
    image = jnp.asarray(volume((12, 64, 64)))
    keys = jax.random.split(jax.random.key(7), 8)
    out = jax.vmap(lambda k: defects.fold(k, image))(keys)
    changed = np.asarray(out.volume != image).any(axis=(2, 3)).sum(axis=1)
    assert changed.min() >= 1 and changed.max() <= 5
    assert not ((np.asarray(out.volume) == 0) & np.asarray(out.valid)).any()


def test_section_blur_equals_scipy_on_the_rectangle(monkeypatch):
    image = volume((2, 40, 44))
    y_bounds = jnp.asarray([4, 0]), jnp.asarray([20, 40])
    x_bounds = jnp.asarray([10, 0]), jnp.asarray([40, 44])
    hit = jnp.asarray([True, False])
    monkeypatch.setattr(defects, "draw_patches", lambda *_: (y_bounds, x_bounds, hit))
    out = defects.section_blur(jax.random.key(8), jnp.asarray(image), (3.0, 3.0))
    expected = image.copy()
    expected[0, 4:20, 10:40] = ndimage.gaussian_filter(image[0, 4:20, 10:40], 3.0)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_patches_are_whole_sections_or_rectangles():
    keys = jax.random.split(jax.random.key(9), 64)
    masks = jax.vmap(
        lambda k: defects.patch_mask(*defects.draw_patches(k, SHAPE, 0.5, 0.7), SHAPE)
    )(keys)
    sizes = np.asarray(masks).sum(axis=(2, 3)).ravel()
    whole = sizes == 40 * 44
    part = sizes[(sizes > 0) & ~whole]
    assert whole.any() and part.min() >= 12 * 13 and part.max() <= 28 * 30
