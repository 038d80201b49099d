"""Two views of one window, cut at different places, and the map between their voxels.

A view knows where its content came from: the content of its voxel p was at

    c(p) = matrix @ p + offset + (0, dy(p), dx(p))

in the window shared by both views, and its target holds the clean content at `matrix @ p + offset`.
Everything after the loader happens here, on the device, for one sample; use `jax.vmap` for a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from emjax.augment import geometry
from emjax.augment.degradation import degrade, degrade_released, shared_geometry
from emjax.augment.geometry import Warped
from emjax.augment.recipes import Recipe, shared_size, window_size
from emjax.errors import InputError
from emjax.geometry.sizes import Size

STRENGTHS = ("clean", "weak", "strong")

# The displacement varies slowly (that of a fold by at most a tenth of a voxel per voxel), so few rounds suffice.
INVERSE_ROUNDS = 8
# A point is found if its content lies within this many voxels of the requested content.
INVERSE_TOLERANCE = 0.5


class View(NamedTuple):
    """One degraded cut of a shared window.

    Attributes:
        image: `[z, y, x]` float32 in [0, 1], the network's input.
        target: `[z, y, x]` float32 in [0, 1], the clean content, cut and oriented like the image.
        matrix: `[3, 3]` float32, the orientation, a signed permutation.
        offset: `[3]` float32, voxels.
        displacement: `[z, y, x, 2]` float32 (dy, dx), voxels of the shared window, made by defects.
        valid: `[z, y, x]` bool, False where a defect destroyed the content.
    """

    image: jax.Array
    target: jax.Array
    matrix: jax.Array
    offset: jax.Array
    displacement: jax.Array
    valid: jax.Array


class Views(NamedTuple):
    """The two views of a window."""

    first: View
    second: View


def make_views(
    key: jax.Array,
    window: jax.Array,
    crop_size: Size,
    recipe: Recipe,
    strengths: tuple[str, str] = ("weak", "strong"),
) -> Views:
    """Cuts and degrades two views of one window.

    Geometry is shared; noise, blur, contrast and defects are drawn for each view separately, because with
    shared acquisition noise the pixels alone would match the views.

    Args:
        key: typed PRNG key.
        window: `[Z, Y, X]` uint8, or float in [0, 1]; at least `window_size(crop_size, recipe)`.
        crop_size: (z, y, x) of a view, voxels.
        recipe: how the views are made.
        strengths: 'clean', 'weak' or 'strong' for the first and the second view. 'released' has no
        strengths: every view that is not 'clean' gets one operator.

    Returns:
        The first and the second view.

    Raises:
        InputError: if the window is too small, or a strength is unknown.
    """
    needed = window_size(crop_size, recipe)
    if window.ndim != 3 or any(
        have < want for have, want in zip(window.shape, needed, strict=True)
    ):
        raise InputError(
            f"a window of {window.shape} cannot give crops of {tuple(crop_size)}: "
            f"recipe {recipe.name!r} needs {needed}; cut windows of that size"
        )
    if len(strengths) != 2 or any(s not in STRENGTHS for s in strengths):
        raise InputError(f"strengths={strengths!r} must be two of {', '.join(STRENGTHS)}")
    scale = 1 / 255 if jnp.issubdtype(window.dtype, jnp.integer) else 1.0
    window = window.astype(jnp.float32) * scale
    geometry_key, *view_keys = jax.random.split(key, 3)
    if recipe.name == "released":
        window = geometry.central(window, needed)
    shared = shared_geometry(geometry_key, window, crop_size, recipe).volume
    make = _released_view if recipe.name == "released" else _view
    first, second = (
        make(view_key, shared, crop_size, strength, recipe)
        for view_key, strength in zip(view_keys, strengths, strict=True)
    )
    return Views(first, second)


def _view(
    key: jax.Array, shared: jax.Array, crop_size: Size, strength: str, recipe: Recipe
) -> View:
    """Cuts a view at its own offset, degrades it and gives it its own orientation."""
    cut_key, degrade_key, orient_key = jax.random.split(key, 3)
    room = jnp.asarray(recipe.max_offset)
    start = jax.random.randint(cut_key, (3,), 0, room + 1)
    target = jax.lax.dynamic_slice(shared, start, crop_size)
    warped = degrade(degrade_key, target, strength, recipe)
    probability = 1.0 if recipe.own_orientation else 0.0
    orientation = geometry.draw_orientation(
        orient_key, crop_size, probability, recipe.reverse_sections
    )
    matrix, offset = geometry.orientation_map(orientation, crop_size)
    if recipe.own_orientation:
        # The displacement keeps the axes of the shared window: it moves with its voxels, but its vectors are not
        # turned.
        target, warped = (
            geometry.orient(target, orientation),
            Warped(*(geometry.orient(part, orientation) for part in warped)),
        )
    return View(warped.volume, target, matrix, offset + start, warped.displacement, warped.valid)


def _released_view(
    key: jax.Array, shared: jax.Array, crop_size: Size, strength: str, recipe: Recipe
) -> View:
    """Returns the released view: the central crop after one operator, whose geometry is not recorded."""
    del recipe
    target = geometry.central(shared, crop_size)
    image = target if strength == "clean" else degrade_released(key, shared, crop_size)
    return View(
        image,
        target,
        jnp.eye(3),
        jnp.zeros(3),
        jnp.zeros((*crop_size, 2)),
        jnp.ones(crop_size, bool),
    )


class _Lookup(NamedTuple):
    displacement: jax.Array
    valid: jax.Array


def _look_up(view: View, points: jax.Array) -> _Lookup:
    """Reads the displacement, bilinear in its section, and whether all voxels read are valid."""
    shape = view.valid.shape
    points = jnp.clip(points, 0, jnp.asarray(shape, jnp.float32) - 1)
    z = jnp.round(points[:, 0]).astype(jnp.int32)
    low = jnp.floor(points[:, 1:]).astype(jnp.int32)
    part = points[:, 1:] - low
    displacement, valid = jnp.zeros(()), jnp.ones((), bool)
    for down in (0, 1):
        for right in (0, 1):
            y = jnp.minimum(low[:, 0] + down, shape[1] - 1)
            x = jnp.minimum(low[:, 1] + right, shape[2] - 1)
            share_y = part[:, 0] if down else 1 - part[:, 0]
            share_x = part[:, 1] if right else 1 - part[:, 1]
            weight = share_y * share_x
            displacement = displacement + weight[:, None] * view.displacement[z, y, x]
            valid = valid & (view.valid[z, y, x] | (weight == 0))
    return _Lookup(displacement, valid)


def _rotate(matrix: jax.Array, points: jax.Array) -> jax.Array:
    """Returns `matrix @ p` for each row, as a sum, because products may lose bits on accelerators."""
    return jnp.sum(matrix * points[:, None, :], axis=-1)


def to_window(view: View, points: jax.Array) -> jax.Array:
    """Returns where the content of a view's points was in the shared window.

    Args:
        view: one view, without batch axis.
        points: `[n, 3]` float32 positions in the view, voxels.

    Returns:
        `[n, 3]` float32 positions in the shared window, voxels. Points that a defect destroyed have no
        origin; `valid_at` tells which these are.
    """
    base = _rotate(view.matrix, points) + view.offset
    return base.at[:, 1:].add(_look_up(view, points).displacement)


def valid_at(view: View, points: jax.Array) -> jax.Array:
    """Returns whether points lie in a view, at content that no defect destroyed.

    Args:
        view: one view, without batch axis.
        points: `[n, 3]` float32 positions in the view, voxels.

    Returns:
        `[n]` bool.
    """
    last = jnp.asarray(view.valid.shape, jnp.float32) - 1
    inside = jnp.all((points >= 0) & (points <= last), axis=-1)
    return inside & _look_up(view, points).valid


def from_window(view: View, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns where the content at points of the shared window is in a view.

    The displacement is inverted by fixed-point iteration.

    Args:
        view: one view, without batch axis.
        points: `[n, 3]` float32 positions in the shared window, voxels.

    Returns:
        `[n, 3]` float32 positions in the view, voxels, and `[n]` bool: whether a point is inside the view, not
        destroyed, and within half a voxel of the requested content.
    """
    inverse = view.matrix.T
    moved = points - view.offset

    def refine(_: int, guess: jax.Array) -> jax.Array:
        return _rotate(inverse, moved.at[:, 1:].add(-_look_up(view, guess).displacement))

    found = jax.lax.fori_loop(0, INVERSE_ROUNDS, refine, _rotate(inverse, moved))
    residual = jnp.max(jnp.abs(to_window(view, found) - points), axis=-1)
    return found, (residual <= INVERSE_TOLERANCE) & valid_at(view, found)


__all__ = [
    "View",
    "Views",
    "from_window",
    "make_views",
    "shared_size",
    "to_window",
    "valid_at",
    "window_size",
]
