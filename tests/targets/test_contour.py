from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.targets import contour as module
from emjax.targets.contour import EDGES

contour = jax.jit(module.contour, static_argnames=("thickness", "edges", "plane"))

TWO = [[0, 0, 0, 0, 0], [0, 1, 1, 2, 0], [0, 1, 1, 2, 0], [0, 0, 0, 0, 0]]


def section(rows) -> jax.Array:
    """One section, int32 `[1, y, x]`."""
    return jnp.asarray(rows, jnp.int32)[None]


def framed(rows, width: int = 1) -> jax.Array:
    """The section within a frame that repeats its border, so that the crop's border adds no edge."""
    return jnp.asarray(np.pad(np.asarray(rows, np.int32), width, mode="edge"))[None]


def inner(values: jax.Array, width: int = 1) -> np.ndarray:
    return np.asarray(values)[0, width:-width, width:-width, 0]


def slow_contour(labels: np.ndarray, thickness: int, edges: str, plane: bool):
    """The definition, voxel by voxel; None where it cannot be known."""
    axes = (1, 2) if plane else (0, 1, 2)
    steps = [tuple(s if b == a else 0 for b in range(3)) for a in axes for s in (-1, 1)]

    def at(p):
        inside = all(0 <= a < n for a, n in zip(p, labels.shape, strict=True))
        return labels[p] if inside else -1

    def edge(p):
        """Whether p is at an edge, and whether all that decides it is known."""
        others = [at(tuple(np.add(p, s))) for s in steps]
        here = at(p)
        if edges == "all":
            on = any(o != here for o in others if o != -1 and here != -1)
        elif edges == "instances":
            on = here > 0 and any(o != here for o in others if o != -1)
        else:
            on = here > 0 and any(o != here for o in others if o > 0)
        return on, here != -1 and -1 not in others

    reach = thickness - 1
    spans = [range(-reach, reach + 1) if a in axes else (0,) for a in range(3)]
    value, known = np.zeros(labels.shape), np.zeros(labels.shape)
    for p in np.ndindex(labels.shape):
        around = [
            edge((p[0] + a, p[1] + b, p[2] + c))
            for a in spans[0]
            for b in spans[1]
            for c in spans[2]
        ]
        known[p] = all(k for _, k in around)
        value[p] = known[p] and any(on for on, _ in around)
        if edges != "all" and labels[p] == 0:
            known[p], value[p] = 1, 0
    return value, known


@pytest.mark.parametrize("edges", EDGES)
def test_three_objects_without_background(edges):
    values, mask = contour(framed([[1, 1, 2], [1, 1, 2], [3, 3, 3]]), 1, edges)
    np.testing.assert_array_equal(inner(values), [[0, 1, 1], [1, 1, 1], [1, 1, 1]])
    assert np.all(inner(mask) == 1)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ("all", [[0, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]),
        # Here we differ: PyTorch Connectomics' seg-all draws background too, as 'all'.
        ("instances", [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]),
        ("touching", [[0, 0, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]),
    ],
)
def test_two_objects_that_touch_in_background(edges, expected):
    values, mask = contour(framed(TWO), 1, edges)
    np.testing.assert_array_equal(inner(values), expected)
    assert np.all(inner(mask) == 1)


def test_thickness_widens_by_a_voxel_in_all_directions():
    labels = section(np.repeat([[1] * 7 + [2] * 7], 11, axis=0))
    for thickness in (1, 2, 3):
        values, mask = contour(labels, thickness)
        row = [0] * (7 - thickness) + [1] * (2 * thickness) + [0] * (7 - thickness)
        assert np.all(np.asarray(mask)[0, 5, thickness:-thickness, 0] == 1)
        np.testing.assert_array_equal(values[0, 5, :, 0], row)


def test_planes_do_not_see_the_sections_beside_them():
    labels = jnp.broadcast_to(jnp.arange(1, 6, dtype=jnp.int32)[:, None, None], (5, 6, 6))
    values, mask = contour(labels, plane=True)
    assert np.all(values == 0) and np.all(mask[:, 1:-1, 1:-1] == 1)
    values, mask = contour(labels, plane=False)
    assert np.all(values[1:-1, 1:-1, 1:-1] == 1) and np.all(mask[0] == 0)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize(("thickness", "plane"), [(1, True), (1, False), (2, True), (2, False)])
def test_equals_its_definition(edges, thickness, plane):
    rng = np.random.default_rng(thickness)
    labels = np.kron(rng.integers(0, 3, (3, 3, 3)), np.ones((2, 3, 3), int)).astype(np.int32)
    labels[rng.random(labels.shape) < 0.02] = -1
    values, mask = contour(jnp.asarray(labels), thickness, edges, plane)
    expected, known = slow_contour(labels, thickness, edges, plane)
    np.testing.assert_array_equal(mask[..., 0], known)
    np.testing.assert_array_equal(values[..., 0], expected)
    assert 0 < known.sum() < known.size and expected.sum() > 0


def test_a_batch_equals_its_crops():
    labels = jnp.asarray(np.random.default_rng(0).integers(-1, 3, (2, 5, 8, 8)), jnp.int32)
    make = jax.jit(jax.vmap(lambda x: contour(x, 2, "touching", True)))
    for together, alone in zip(make(labels), contour(labels[1], 2, "touching", True), strict=True):
        np.testing.assert_array_equal(together[1], alone)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="thickness=0"):
        contour(section(TWO), 0)
    with pytest.raises(InputError, match="edges=touch.*did you mean 'touching'"):
        contour(section(TWO), edges="touch")
