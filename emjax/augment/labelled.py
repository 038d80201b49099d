"""Augments one crop with its labels: changes of the image's geometry are applied to the labels too.

Orientation, rescaling, elastic deformation and displaced sections move image and labels together;
contrast, noise, blur, lost sections and cut-outs change the image alone, so that the network learns
to see through them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from emjax.augment import geometry
from emjax.augment.degradation import Shaped, damage, shared_geometry, weaken
from emjax.augment.recipes import Recipe, window_size
from emjax.errors import InputError
from emjax.geometry.sizes import Size

IGNORE = -1


def augment_labelled(
    key: jax.Array,
    window: jax.Array,
    labels: jax.Array,
    crop_size: Size,
    recipe: Recipe,
    strong_probability: float = 0.5,
) -> tuple[jax.Array, jax.Array]:
    """Cuts and augments one crop.

    Args:
        key: typed PRNG key.
        window: `[Z, Y, X]` uint8, at least `window_size(crop_size, recipe)`.
        labels: `[Z, Y, X]` or `[Z, Y, X, k]` int32 of the window, -1 where nothing is known.
        crop_size: (z, y, x), voxels.
        recipe: as in pretraining; its offsets and orientations of a second view have no effect.
        strong_probability: probability that the crop also gets the defects of a strong view.

    Returns:
        `[z, y, x]` float32 in [0, 1], and the labels, `[z, y, x]` or `[z, y, x, k]` int32, read at the nearest voxel,
        so that no new id can arise. Labels of content from outside of the crop are -1.

    Raises:
        InputError: if the window is too small.
    """
    needed = window_size(crop_size, recipe)
    if any(have < want for have, want in zip(window.shape, needed, strict=True)):
        raise InputError(
            f"a window of {window.shape} cannot give crops of {tuple(crop_size)}: the recipe needs {needed}"
        )
    geometry_key, weak_key, strong_key, act_key = jax.random.split(key, 4)
    window = window.astype(jnp.float32) / 255
    shaped = shared_geometry(geometry_key, window, crop_size, recipe)
    labels = _follow(labels, shaped)
    image = geometry.central(shaped.volume, crop_size)
    labels = geometry.central(labels, (*crop_size, *labels.shape[3:]))
    image = weaken(weak_key, image, recipe)
    if strong_probability == 0 or recipe.strong_count[1] == 0:
        return image, labels
    damaged = damage(strong_key, image, recipe)
    acts = geometry.happens(act_key, strong_probability)
    y = jnp.arange(crop_size[1])[None, :, None] + damaged.displacement[..., 0]
    x = jnp.arange(crop_size[2])[None, None, :] + damaged.displacement[..., 1]
    inside = geometry.inside_section(y, x, crop_size)
    moved = _sample(labels, y, x)
    moved = jnp.where(_like(inside, moved), moved, IGNORE)
    return jnp.where(acts, damaged.volume, image), jnp.where(acts, moved, labels)


def _follow(labels: jax.Array, shaped: Shaped) -> jax.Array:
    """Moves labels as the image was moved, by one nearest-voxel lookup in the oriented window."""
    labels = geometry.orient(labels, shaped.orientation)
    size = shaped.volume.shape
    labels = geometry.central(labels, (size[0], *labels.shape[1:]))

    def source(axis: int, position: jax.Array) -> jax.Array:
        have, want = labels.shape[axis], size[axis]
        middle = (want - 1) / 2
        # Positions as `zoom_plane` reads the image, mirrored as the deformation mirrors it at the border of its crop.
        mirrored = want - 1 - jnp.abs(want - 1 - jnp.abs(position))
        return (have - want) // 2 + middle + (mirrored - middle) / shaped.zoom

    y = source(1, jnp.arange(size[1])[None, :, None] + shaped.displacement[..., 0])
    x = source(2, jnp.arange(size[2])[None, None, :] + shaped.displacement[..., 1])
    return _sample(labels, y, x)


def _sample(labels: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Reads the nearest label, for each kind of label."""
    if labels.ndim == 3:
        return geometry.sample_sections(labels, y, x, nearest=True)
    read = jax.vmap(
        lambda kind: geometry.sample_sections(kind, y, x, nearest=True), in_axes=3, out_axes=3
    )
    return read(labels)


def _like(mask: jax.Array, labels: jax.Array) -> jax.Array:
    """Gives a mask the axes of labels."""
    return mask if labels.ndim == 3 else mask[..., None]
