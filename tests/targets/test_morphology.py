from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from emjax.targets.foreground import Foreground
from emjax.targets.morphology import dilate, erode

ROW = jnp.array([[[1, 1, 1, 2, 2, 2, 0, 0, 0, 3]]])


def row(labels) -> list[int]:
    return np.asarray(labels)[0, 0].tolist()


def test_erosion_parts_objects_and_shrinks_them_but_not_at_the_border_of_the_crop():
    assert row(erode(ROW, 1)) == [1, 1, 0, 0, 2, 0, 0, 0, 0, 0]
    assert row(erode(ROW, 2)) == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert erode(ROW, 0) is ROW and dilate(ROW, 0) is ROW


def test_dilation_gives_background_to_the_nearest_object_and_to_the_smaller_id():
    assert row(dilate(ROW, 1)) == [1, 1, 1, 2, 2, 2, 2, 0, 3, 3]
    assert row(dilate(ROW, 2)) == [1, 1, 1, 2, 2, 2, 2, 2, 3, 3]


def test_hidden_edges_and_objects_are_unknown():
    labels = jnp.array([[[1, 1, 1, -1, 0, 0, 0, 2]]])
    assert row(erode(labels, 1)) == [1, 1, -1, -1, 0, 0, 0, 0]
    assert row(dilate(labels, 1)) == [1, 1, 1, -1, -1, 0, 2, 2]


def test_sections_do_not_see_each_other():
    labels = jnp.array([[[1, 1, 1]], [[0, 0, 0]], [[2, 0, 2]]])
    assert np.array_equal(erode(labels, 1), [[[1, 1, 1]], [[0, 0, 0]], [[0, 0, 0]]])
    assert np.array_equal(dilate(labels, 1), [[[1, 1, 1]], [[0, 0, 0]], [[2, 2, 2]]])


def test_a_target_erodes_first_and_dilates_then():
    values, _ = Foreground(erode=1, dilate=1).of_labels(jnp.array([[[0, 1, 0, 2, 2, 2, 2, 0]]]))
    # The object of one voxel is gone, as in an opening; along y there is nothing else.
    assert np.asarray(values)[0, 0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
