"""Positions on other grids, compared with torch's interpolation."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.models.positions import resample_positions
from emjax.weights.resampling import cubic_matrix, linear_matrix

# torch.nn.functional.interpolate(torch.tensor([1., 4, 2, 8, 5]).sqrt()[None, None, None], size=(1, wanted),
# mode="bicubic", antialias=...) with torch 2.13; of 'offset' scale_factor=(1, (wanted + 0.1) / 5).
GOLDEN = {
    ("exact", 8): [
        0.9071655,
        1.4771116,
        2.0082111,
        1.4791622,
        1.7926056,
        2.7809606,
        2.6048667,
        2.1810768,
    ],
    ("exact", 3): [1.3473588, 1.4142135, 2.5011184],
    ("offset", 8): [
        0.9061531,
        1.4626244,
        2.0079918,
        1.5025543,
        1.7366279,
        2.7392797,
        2.6532512,
        2.1924412,
    ],
    ("offset", 3): [1.3144988, 1.3845348, 2.6342735],
    ("antialias", 8): [
        0.9280443,
        1.4242872,
        2.0032814,
        1.5028006,
        1.7758094,
        2.7914889,
        2.5411308,
        2.1934443,
    ],
    ("antialias", 2): [1.529428, 2.3172879],
    ("antialias", 3): [1.3898946, 1.8920687, 2.5076149],
}
VALUES = np.sqrt(np.array([1.0, 4, 2, 8, 5], np.float32))


@pytest.mark.parametrize(("resampling", "wanted"), GOLDEN)
def test_as_torch(resampling, wanted):
    found = cubic_matrix(5, wanted, resampling) @ VALUES
    np.testing.assert_allclose(found, GOLDEN[resampling, wanted], rtol=2e-6)


@pytest.mark.parametrize("resampling", ["exact", "offset", "antialias"])
@pytest.mark.parametrize("wanted", [1, 3, 7, 40])
def test_rows_add_up_to_one(resampling, wanted):
    np.testing.assert_allclose(cubic_matrix(14, wanted, resampling).sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(linear_matrix(14, wanted).sum(1), 1, rtol=1e-6)


def test_the_own_grid_is_left_as_it_is_and_axes_are_kept_apart():
    places = jnp.asarray(np.random.default_rng(0).random((3, 3, 4)), jnp.float32)
    assert resample_positions(places, (3, 3), "offset") is places
    rows = jnp.broadcast_to(jnp.arange(3.0)[:, None, None], (3, 3, 1))
    found = resample_positions(rows, (6, 5), "exact")[..., 0]
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], (6, 5)), rtol=1e-5)
    np.testing.assert_allclose(linear_matrix(3, 6) @ np.arange(3.0), [0, 0.25, 0.75, 1.25, 1.75, 2])
