from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from emjax.targets import flow as module
from emjax.targets.flow import Flow

flow = jax.jit(module.flow, static_argnames="plane")


def test_a_row_flows_to_its_middle():
    labels = jnp.array([[[0, 4, 4, 4, 4, 4, 0, 1, 1, 1]]])
    values, mask = (np.asarray(a)[0, 0] for a in flow(labels))
    np.testing.assert_allclose(values[:, 1], [0, 1, 1, 0, -1, -1, 0, 1, 0, -1], atol=1e-6)
    assert np.all(values[:, 0] == 0) and np.all(mask == 1)


def test_one_step_of_heat_by_hand():
    # Two steps for a box of 1 x 1: heat 1 enters, a ninth of it stays; then (1 + 1/9) / 9.
    _, heat = jax.jit(module._flow)(jnp.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(heat[1, 1], sum((1 / 9) ** k for k in range(1, 5)), rtol=1e-6)


def test_a_square_flows_from_all_sides_and_its_neighbour_does_not_matter():
    labels = np.zeros((1, 9, 20), np.int32)
    labels[0, 1:8, 1:8] = 1
    alone = np.asarray(flow(labels)[0])[0]
    assert alone[4, 4].tolist() == [0, 0]
    np.testing.assert_allclose(alone[1, 1], np.sqrt([0.5, 0.5]), atol=1e-5)
    np.testing.assert_allclose(alone[4, 7], [0, -1], atol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(alone[labels[0] > 0], axis=-1).round(4), np.eye(49)[24] * -1 + 1
    )
    labels[0, 1:8, 8:15] = 2
    np.testing.assert_allclose(np.asarray(flow(labels)[0])[0, :, :8], alone[:, :8], atol=1e-5)


def test_in_space_it_goes_across_sections():
    labels = jnp.zeros((5, 3, 3), jnp.int32).at[:, 1, 1].set(1)
    values, _ = flow(labels, plane=False)
    np.testing.assert_allclose(values[:, 1, 1, 0], [1, 1, 0, -1, -1], atol=1e-6)
    assert Flow(plane=False).names == ("flow_z", "flow_y", "flow_x")
    assert Flow().names == ("flow_y", "flow_x")


def test_pieces_without_the_centre_and_unlabelled_voxels_are_masked():
    labels = jnp.array([[[1, 1, 1, 1, 0, 1, -1]]])
    _, mask = flow(labels)
    np.testing.assert_array_equal(mask[0, 0, :, 1], [1, 1, 1, 1, 1, 0, 0])


def test_empty_crops_are_finite():
    for label in (0, -1):
        values, mask = flow(jnp.full((2, 4, 4), label, jnp.int32))
        assert np.all(values == 0) and np.all(mask == (label == 0))
