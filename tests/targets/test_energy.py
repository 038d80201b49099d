from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets.energy import Energy, quantise


def test_levels_of_a_row():
    labels = jnp.array([[[0, 3, 3, 3, 3, 3, 3, 3, 0, -1]]])
    # Distances 1, 2, 3, 4, 3, 2, 1 of 4; what is unlabelled is not known.
    values, mask = (np.asarray(a)[0, 0] for a in Energy(levels=4).make(labels))
    assert np.argmax(values, -1)[:9].tolist() == [0, 2, 3, 4, 4, 4, 3, 2, 0]
    assert mask[:, 0].tolist() == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0]
    assert np.array_equal(values.sum(-1), mask[:, 0]) and values.shape[-1] == 5


def test_levels_are_checked():
    assert Energy().names[-1] == "energy_10"
    with pytest.raises(InputError, match="levels=1 must be 2 to 255"):
        Energy(levels=1)


def test_one_is_the_last_level():
    assert quantise(jnp.array([-1.0, 0.0, 0.999, 1.0]), 2).tolist() == [0, 1, 2, 2]
