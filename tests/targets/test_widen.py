from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets.widen import widen


def test_widening_by_hand():
    row = [1, 1, 1, 2, 2, 0, 3, -1, 4, 4]
    labels = jnp.asarray([[row] * 3], jnp.int32)
    # Between 2 and 3 lies background already, but they are not in one window with it alone: the
    # window of the 0 holds both, and is background. Beside the unknown voxel nothing changes,
    # which stays unknown although its window holds 3 and 4.
    expected = [1, 1, 0, 0, 2, 0, 3, -1, 4, 4]
    np.testing.assert_array_equal(widen(labels)[0], [expected] * 3)


def test_widening_equals_a_loop_and_keeps_to_sections():
    rng = np.random.default_rng(3)
    labels = np.kron(rng.integers(-1, 4, (3, 4, 4)), np.ones((1, 3, 2), int)).astype(np.int32)
    expected = labels.copy()
    for z, y, x in np.ndindex(labels.shape):
        window = labels[z, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if labels[z, y, x] > 0 and len(np.unique(window[window > 0])) >= 2:
            expected[z, y, x] = 0
    widened = np.asarray(jax.jit(widen)(jnp.asarray(labels)))
    np.testing.assert_array_equal(widened, expected)
    assert np.sum(widened != labels) > 10 and widened.dtype == np.int32


def test_labels_of_another_type_are_refused():
    with pytest.raises(InputError, match=r"labels are float32\[1, 3, 3\]"):
        widen(jnp.zeros((1, 3, 3)))
