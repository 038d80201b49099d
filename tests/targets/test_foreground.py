from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets.foreground import foreground


def test_foreground_by_hand():
    labels = jnp.asarray([[[0, 1, 3], [2, -1, 3]]], jnp.int32)
    values, mask = foreground(labels)
    np.testing.assert_array_equal(values[0, ..., 0], [[0, 1, 1], [1, 0, 1]])
    np.testing.assert_array_equal(mask[0, ..., 0], [[1, 1, 1], [1, 0, 1]])
    values, mask = foreground(labels, ids=(1, 3))
    np.testing.assert_array_equal(values[0, ..., 0], [[0, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(mask[0, ..., 0], [[1, 1, 1], [1, 0, 1]])


def test_a_batch_is_refused():
    with pytest.raises(InputError, match=r"jax\.vmap over a batch"):
        foreground(jnp.zeros((1, 2, 3, 4), jnp.int32))
