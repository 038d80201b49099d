from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emjax.targets.language import parse_targets
from emjax.targets.polarity import ExclusivePolarity, Polarity

LABELS = jnp.array([[[0, 1, 2, 7, 8, -1]]])


def test_odd_ids_are_pre_and_even_ones_post():
    values, mask = (np.asarray(a)[0, 0] for a in Polarity().make(LABELS))
    np.testing.assert_array_equal(
        values.T, [[0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 1, 1, 1, 1, 0]]
    )
    np.testing.assert_array_equal(mask.T, [[1, 1, 1, 1, 1, 0]] * 3)


def test_exclusive_channels_are_one_of_three():
    values, mask = (np.asarray(a)[0, 0] for a in ExclusivePolarity().make(LABELS))
    np.testing.assert_array_equal(np.argmax(values, -1)[:5], [0, 1, 2, 1, 2])
    np.testing.assert_array_equal(values.sum(-1), mask[:, 0])


def test_ids_are_those_of_the_file_and_names_tell_the_kinds_apart():
    both = parse_targets("polarity?weights=class_ratio; exclusive_polarity?of=clefts")
    assert both[0].reads == both[1].reads == "classes"
    assert both[0].stored_names == ("pre", "post", "synapse")
    assert both[1].stored_names == ("clefts.no_synapse", "clefts.pre", "clefts.post")
