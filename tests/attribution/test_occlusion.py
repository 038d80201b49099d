"""Covering parts of an input, for networks where it is known what that changes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emjax.attribution.occlusion import occlude_patches, occlude_sections

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.random((2, 3, 6, 7, 1)), jnp.float32)


def test_sections():
    # The output of every section is 1, 2 and 3 times the input's sections added up.
    weights = jnp.asarray([1.0, 2.0, -3.0])[None, :, None, None, None]
    forward = lambda x: jnp.broadcast_to((x * weights).sum(1, keepdims=True), x.shape)  # noqa: E731
    region = np.zeros((2, 3, 6, 7), bool)
    region[:, 1, :2] = True
    found = occlude_sections(forward, region, 0, X, grey=0.5)
    away = np.asarray((X - 0.5) * weights)[:, :, :2, :, 0]
    np.testing.assert_allclose(found.score, np.abs(away.sum((2, 3))), rtol=1e-4)
    np.testing.assert_allclose(found.output, np.abs(away).mean((2, 3)), rtol=1e-4)


def test_patches_of_one_pixel_are_the_weights():
    weights = jnp.asarray(RNG.normal(size=(3, 6, 7, 1)), jnp.float32)
    score = lambda x: (x * weights).sum((1, 2, 3, 4))  # noqa: E731
    found = occlude_patches(score, X, patch=1, stride=1, grey=0.0)
    np.testing.assert_allclose(found, jnp.abs(X * weights), rtol=1e-3, atol=1e-5)


def test_patches_cover_every_pixel_and_one_section_alone():
    # What lies in the last section and the last column alone counts.
    score = lambda x: x[:, 2, :, 6, 0].sum(1)  # noqa: E731
    found = np.asarray(occlude_patches(score, X, patch=4, stride=3))
    assert (found[:, 2, :, 3:] > 0).all()
    assert not found[:, :2].any() and not found[:, 2, :, :3].any()
    # A patch larger than the section covers all of it.
    whole = occlude_patches(score, X, patch=16, stride=8)
    np.testing.assert_allclose(whole[:, 2, 0, 0, 0], X[:, 2, :, 6, 0].sum(1), rtol=1e-5)
