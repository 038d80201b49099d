from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.models.pyramid import adaptive_pool, pooling_matrix


def _slow(x, size):
    out = np.zeros((x.shape[0], *size, x.shape[-1]), np.float32)
    for index in np.ndindex(*size):
        window = tuple(
            slice(int(np.floor(i * n / m)), int(np.ceil((i + 1) * n / m)))
            for i, n, m in zip(index, x.shape[1:4], size, strict=True)
        )
        out[(slice(None), *index)] = x[(slice(None), *window)].mean((1, 2, 3))
    return out


def test_matrix_by_hand():
    # Windows [0, 2) and [1, 3).
    np.testing.assert_array_equal(pooling_matrix(3, 2), [[0.5, 0.5, 0], [0, 0.5, 0.5]])
    np.testing.assert_array_equal(pooling_matrix(2, 4), [[1, 0], [1, 0], [0, 1], [0, 1]])


@pytest.mark.parametrize("size", [(2, 4, 4), (4, 3, 5), (4, 4, 4), (1, 1, 1), (6, 10, 8)])
def test_equals_a_slow_loop(size):
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(adaptive_pool(x, size), _slow(x, size), atol=1e-6)


@pytest.mark.parametrize(("voxels", "cells"), [(5, 16), (16, 16), (160, 16), (17, 16)])
def test_rows_are_averages(voxels, cells):
    np.testing.assert_allclose(pooling_matrix(voxels, cells).sum(1), 1, rtol=1e-6)


def test_result_is_float32():
    x = jnp.full((1, 2, 4, 4, 1), 3.0, jnp.bfloat16)
    out = adaptive_pool(x, (1, 2, 3))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, 3.0, rtol=1e-6)


def test_size_of_too_few_axes():
    with pytest.raises(ValueError, match="shorter"):
        adaptive_pool(jnp.zeros((1, 2, 4, 4, 1)), (2, 2))
