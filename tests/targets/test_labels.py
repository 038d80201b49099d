from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment import labelled
from emjax.data import source
from emjax.errors import InputError
from emjax.targets.labels import IGNORE, check_labels, neighbour


def test_neighbour_by_hand():
    row = jnp.array([[[1, 2, 3]]])
    np.testing.assert_array_equal(neighbour(row, (0, 0, -1))[0, 0], [-1, 1, 2])
    np.testing.assert_array_equal(neighbour(row, (0, 0, 2))[0, 0], [3, -1, -1])
    np.testing.assert_array_equal(neighbour(row, (0, 0, 9))[0, 0], [-1, -1, -1])
    np.testing.assert_array_equal(neighbour(row, (-5, 0, 0))[0, 0], [-1, -1, -1])


def test_neighbour_equals_a_loop():
    labels = np.random.default_rng(0).integers(0, 9, (3, 4, 5))
    offset = (-1, 2, -3)
    expected = np.full(labels.shape, IGNORE)
    for p in np.ndindex(labels.shape):
        q = tuple(a + b for a, b in zip(p, offset, strict=True))
        if all(0 <= a < n for a, n in zip(q, labels.shape, strict=True)):
            expected[p] = labels[q]
    np.testing.assert_array_equal(neighbour(jnp.asarray(labels), offset), expected)


def test_all_packages_mean_the_same_by_unknown():
    assert IGNORE == source.IGNORE == labelled.IGNORE


@pytest.mark.parametrize("labels", [jnp.zeros((2, 3, 4, 5), jnp.int32), jnp.zeros((3, 4, 5))])
def test_what_is_no_crop_is_refused(labels):
    with pytest.raises(InputError, match="int32 .z, y, x."):
        check_labels(labels)


def test_unsigned_labels_cannot_say_unknown():
    with pytest.raises(InputError, match="uint8"):
        check_labels(jnp.zeros((1, 1, 1), jnp.uint8))
