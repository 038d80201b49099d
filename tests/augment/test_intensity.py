"""Grey value operators against slow references."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage import filters

from emjax.augment import intensity

SHAPE = (5, 20, 24)
OPERATORS = {
    "intensity": intensity.intensity,
    "noise": intensity.noise,
    "blur": functools.partial(intensity.blur, sigma_range=(1.0, 2.0)),
    "sobel": intensity.sobel,
}


def volume(seed=0):
    return np.random.default_rng(seed).random(SHAPE, np.float32)


@pytest.mark.parametrize("name", OPERATORS)
def test_probability_zero_is_the_identity_and_one_acts(name):
    operator, image = OPERATORS[name], jnp.asarray(volume())
    np.testing.assert_array_equal(operator(jax.random.key(0), image, probability=0.0), image)
    out = np.asarray(operator(jax.random.key(0), image))
    assert (out != image).mean() > 0.9
    assert out.min() >= 0 and out.max() <= 1
    np.testing.assert_array_equal(out, operator(jax.random.key(0), image))
    assert (out != operator(jax.random.key(1), image)).any() or name == "sobel"


def test_adjust_intensity_by_hand():
    out = intensity.adjust_intensity(jnp.asarray([[[0.0, 0.5, 1.0]]]), 1.1, 0.1, 2.0)
    np.testing.assert_allclose(out[0, 0], [0.01, 0.65**2, 1.0], rtol=1e-6)


def test_intensity_acts_by_section_or_as_a_whole():
    image = jnp.full(SHAPE, 0.5)
    keys = jax.random.split(jax.random.key(2), 200)
    out = np.asarray(jax.vmap(intensity.intensity, (0, None))(keys, image))[:, :, 0, 0]
    whole = np.ptp(out, axis=1) == 0
    assert 0.12 < whole.mean() < 0.4
    # (0.5 +- 0.075)^(1/2 .. 2)
    assert out.min() >= 0.425**2 - 1e-6 and out.max() <= 0.575**0.5 + 1e-6


def test_noise_has_the_drawn_strength_and_is_independent():
    image = jnp.full((20, 40, 40), 0.5)
    keys = jax.random.split(jax.random.key(3), 2)
    noisy = [np.asarray(intensity.noise(k, image, (0.1, 0.1))) - 0.5 for k in keys]
    assert all(abs(n.std() - 0.1) < 0.003 for n in noisy)
    assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("repeat_border", [False, True])
@pytest.mark.parametrize(("sigma", "radius"), [(0.0, 3), (0.7, 1), (2.0, 4), (5.0, 20)])
def test_gaussian_matrix_equals_scipy(sigma, radius, repeat_border):
    line = np.random.default_rng(4).random(24)
    matrix = intensity.gaussian_matrix(24, sigma, radius, repeat_border=repeat_border)
    mode = "reflect" if repeat_border else "mirror"
    reference = ndimage.gaussian_filter1d(line, max(sigma, 1e-3), mode=mode, radius=radius)
    np.testing.assert_allclose(matrix @ line, reference, atol=1e-5)


def test_gaussian_matrix_of_an_interval_equals_scipy():
    line = np.random.default_rng(5).random(24)
    matrix = intensity.gaussian_matrix(24, 3.0, 12, 5, 14, repeat_border=True)
    reference = ndimage.gaussian_filter1d(line[5:14], 3.0, mode="reflect", radius=12)
    np.testing.assert_allclose((matrix @ line)[5:14], reference, atol=1e-5)


def test_filter_plane_equals_scipy():
    image = volume()
    matrices = [intensity.gaussian_matrix(n, 1.5, 4, repeat_border=False) for n in SHAPE[1:]]
    reference = ndimage.gaussian_filter(image, (0, 1.5, 1.5), mode="mirror", radius=(0, 4, 4))
    np.testing.assert_allclose(
        intensity.filter_plane(jnp.asarray(image), *matrices), reference, atol=1e-5
    )


def test_sobel_equals_skimage():
    image = volume()
    reference = np.stack([np.clip(filters.sobel(s) + s.mean(), 0, 1) for s in image])
    np.testing.assert_allclose(
        intensity.sobel(jax.random.key(6), jnp.asarray(image)), reference, atol=1e-5
    )
