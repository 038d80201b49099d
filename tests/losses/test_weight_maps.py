from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emjax.losses.weight_maps import weigh

LABELS = jnp.array([[[1, 1, 0, 0, 2, 2, 2, 2]]])
VALUES = (LABELS > 0).astype(jnp.float32)[..., None]
MASK = jnp.ones_like(VALUES)


def found(*weights, values=VALUES, mask=MASK, spacing=(1.0, 1.0, 1.0)) -> np.ndarray:
    return np.asarray(weigh(weights, LABELS, values, mask, spacing))[0, 0, :, 0]


def test_ratio_of_the_classes():
    # 2 of 8 are background: they weigh 0.75 / 0.25.
    np.testing.assert_allclose(found(("class_ratio", 0.0, 1.0)), [1, 1, 3, 3, 1, 1, 1, 1])
    np.testing.assert_allclose(found(("class_ratio", 0.0, 0.5)), [1, 1, 2, 2, 1, 1, 1, 1])


def test_ratio_after_dilation():
    values = jnp.zeros_like(VALUES).at[0, 0, 4].set(1)
    # 3 of 8 after dilation by 1: these weigh 5 / 3.
    wanted = np.ones(8)
    wanted[3:6] = 5 / 3
    np.testing.assert_allclose(found(("dilated_ratio", 1.0, 1.0), values=values), wanted, rtol=1e-6)


def test_border_of_two_objects():
    first = np.array([0, 0, 1, 2, 4 - 4, 0, 0, 0])
    first[3] = 1
    second = np.array([4, 3, 2, 2, 3, 4, 5, 6])
    wanted = 1 + 10 * np.exp(-((first + second) ** 2) / (2 * 5**2))
    np.testing.assert_allclose(found(("border", 5.0, 10.0)), wanted, rtol=1e-6)
    wide = 1 + 10 * np.exp(-((first + second) ** 2 * 9) / (2 * 5**2))
    np.testing.assert_allclose(found(("border", 5.0, 10.0), spacing=(1, 1, 3)), wide, rtol=1e-5)


def test_small_objects_and_sums_of_maps():
    assert found(("small", 3.0, 4.0)).tolist() == [5, 5, 1, 1, 1, 1, 1, 1]
    both = found(("small", 3.0, 4.0), ("class_ratio", 0.0, 1.0))
    assert both.tolist() == [5, 5, 3, 3, 1, 1, 1, 1]


def test_unknown_voxels_stay_unknown_and_nothing_is_finite():
    mask = MASK.at[0, 0, 0].set(0)
    every = [
        ("class_ratio", 0.0, 1.0),
        ("dilated_ratio", 2.0, 1.0),
        ("border", 5.0, 10.0),
        ("small", 9.0, 1.0),
    ]
    assert found(*every, mask=mask)[0] == 0 and np.all(found(*every, mask=mask)[1:] >= 1)
    empty = weigh(tuple(every), jnp.zeros_like(LABELS), VALUES * 0, MASK)
    np.testing.assert_array_equal(empty, MASK)
