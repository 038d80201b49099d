"""Applies a recipe to a crop: the geometry that views share, weak changes, and the defects of strong views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from emjax.augment import defects, geometry, intensity
from emjax.augment.geometry import Warped
from emjax.augment.recipes import Recipe, shared_size
from emjax.geometry.sizes import Size


class Shaped(NamedTuple):
    """A window after its change of geometry, and a description of the change.

    Attributes:
        volume: `[z, y, x]` float32 of `shared_size`; of the window's own size for 'released'.
        orientation: applied first.
        zoom: float32 scalar, magnification about the centre, applied next.
        displacement: `[z, y, x, 2]` float32 (dy, dx), voxels, applied last: the content at p was at
            p + displacement(p).
    """

    volume: jax.Array
    orientation: geometry.Orientation
    zoom: jax.Array
    displacement: jax.Array


def shared_geometry(key: jax.Array, window: jax.Array, crop_size: Size, recipe: Recipe) -> Shaped:
    """Orients, rescales and deforms a window, for both views and their targets alike.

    Args:
        key: typed PRNG key.
        window: `[Z, Y, X]` float32 in [0, 1], at least of `window_size`.
        crop_size: (z, y, x) of a view.
        recipe: the recipe; 'released' only orients the window here.
    """
    orient_key, act_key, zoom_key, elastic_key = jax.random.split(key, 4)
    orientation = geometry.draw_orientation(
        orient_key, window.shape, recipe.orientation_probability, recipe.reverse_sections
    )
    window = geometry.orient(window, orientation)
    if recipe.name == "released":
        still = jnp.zeros((*window.shape, 2))
        return Shaped(window, orientation, jnp.ones(()), still)
    size = shared_size(crop_size, recipe)
    # Uniform in the logarithm, so that magnifying and shrinking are equally likely (our choice).
    low, high = jnp.log(jnp.asarray(recipe.rescale_range, jnp.float32))
    zoom = jnp.exp(jax.random.uniform(zoom_key, minval=low, maxval=high))
    zoom = jnp.where(geometry.happens(act_key, recipe.rescale_probability), zoom, 1.0)
    shared = geometry.zoom_plane(window, zoom, size)
    if recipe.elastic_probability == 0:
        return Shaped(shared, orientation, zoom, jnp.zeros((*size, 2)))
    deformed = geometry.elastic(
        elastic_key,
        shared,
        recipe.elastic_spacing,
        recipe.elastic_jitter,
        padding=0,
        nearest=False,
        probability=recipe.elastic_probability,
    )
    return Shaped(deformed.volume, orientation, zoom, deformed.displacement)


def weaken(key: jax.Array, volume: jax.Array, recipe: Recipe) -> jax.Array:
    """Applies the weak recipe: contrast, noise and blur, each with its probability.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        recipe: probabilities and ranges.
    """
    keys = jax.random.split(key, 3)
    volume = intensity.intensity(
        keys[0],
        volume,
        recipe.contrast,
        recipe.brightness,
        recipe.gamma_octaves,
        recipe.intensity_section_probability,
        probability=recipe.intensity_probability,
    )
    volume = intensity.noise(keys[1], volume, (0.0, recipe.noise_sigma), recipe.noise_probability)
    return intensity.blur(
        keys[2],
        volume,
        (0.0, recipe.blur_sigma),
        recipe.blur_radius,
        probability=recipe.blur_probability,
    )


def choose_defects(key: jax.Array, recipe: Recipe) -> dict[str, jax.Array]:
    """Draws the distinct defects of one strong view, by weight.

    Args:
        key: typed PRNG key.
        recipe: number and weights of the defects.

    Returns:
        For each operator a float32 scalar, 1 if it was drawn, else 0.
    """
    count_key, key = jax.random.split(key)
    names, weights = zip(*recipe.strong_weights, strict=True)
    count = jax.random.randint(count_key, (), recipe.strong_count[0], recipe.strong_count[1] + 1)
    # The operators with the largest log weight + Gumbel noise are a weighted draw without replacement.
    scores = jnp.log(jnp.asarray(weights)) + jax.random.gumbel(key, (len(names),))
    rank = jnp.sum(scores[None, :] > scores[:, None], axis=1)
    drawn = (rank < count).astype(jnp.float32)
    return {name: drawn[i] for i, name in enumerate(names)}


def damage(key: jax.Array, volume: jax.Array, recipe: Recipe) -> Warped:
    """Applies the defects of the strong recipe, each masked by whether it was drawn.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        recipe: number, weights and ranges.
    """
    choice_key, *keys = jax.random.split(key, 1 + len(recipe.strong_weights))
    chosen = choose_defects(choice_key, recipe)
    keys = dict(zip(chosen, keys, strict=True))
    # Operators without a weight are not even compiled.
    shift = fold = defects.undisplaced(volume)
    if "misalign" in chosen:
        shift = fold = defects.misalign(
            keys["misalign"],
            volume,
            recipe.misalign_shift,
            recipe.misalign_section_probability,
            probability=chosen["misalign"],
        )
    if "fold" in chosen:
        fold = defects.fold(
            keys["fold"],
            shift.volume,
            recipe.fold_sections,
            recipe.fold_half_width,
            recipe.fold_width,
            recipe.fold_slope,
            recipe.fold_margin,
            probability=chosen["fold"],
        )
    image, displacement, valid = fold
    if "misalign" in chosen and "fold" in chosen:
        # A misaligned section moves as a whole, so its shift needs no resampling under the fold. Where the fold alone
        # already reads beyond the border, the image is mirrored there, and the sum of both displacements could point
        # back inside, to other tissue. There the fold's displacement alone is kept, which marks the content as unknown.
        folded_in = _inside(displacement, volume.shape)[..., None]
        displacement = displacement + jnp.where(folded_in, shift.displacement, 0.0)
        valid = valid & _inside(displacement, volume.shape)

    if "sobel" in chosen:
        image = intensity.sobel(keys["sobel"], image, chosen["sobel"])
    if "section_blur" in chosen:
        image = defects.section_blur(
            keys["section_blur"],
            image,
            recipe.section_blur_sigma,
            recipe.section_blur_whole_probability,
            recipe.section_blur_part_probability,
            probability=chosen["section_blur"],
        )
    if "noise" in chosen:
        image = intensity.noise(keys["noise"], image, recipe.strong_noise_sigma, chosen["noise"])
    if "cutout" in chosen:
        cut = defects.cutout(
            keys["cutout"],
            image,
            recipe.cutout_count,
            recipe.cutout_depth,
            recipe.cutout_side,
            probability=chosen["cutout"],
        )
        image, valid = cut.volume, valid & cut.valid
    if "missing" in chosen:
        cut = defects.missing(
            keys["missing"],
            image,
            recipe.missing_whole_probability,
            recipe.missing_part_probability,
            probability=chosen["missing"],
        )
        image, valid = cut.volume, valid & cut.valid
    return Warped(image, displacement, valid)


def _inside(displacement: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Returns whether the content of each voxel came from inside its section, `[z, y, x]` bool."""
    y = jnp.arange(shape[1])[None, :, None] + displacement[..., 0]
    x = jnp.arange(shape[2])[None, None, :] + displacement[..., 1]
    return geometry.inside_section(y, x, shape)


def degrade(key: jax.Array, volume: jax.Array, strength: str, recipe: Recipe) -> Warped:
    """Degrades a clean crop.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        strength: 'clean', 'weak' or 'strong'.
        recipe: probabilities and ranges.
    """
    weak_key, strong_key = jax.random.split(key)
    if strength == "clean":
        return defects.undisplaced(volume)
    volume = weaken(weak_key, volume, recipe)
    return (
        damage(strong_key, volume, recipe) if strength == "strong" else defects.undisplaced(volume)
    )


def degrade_released(key: jax.Array, window: jax.Array, crop_size: Size) -> jax.Array:
    """Applies one of the 12 enabled operators, uniformly drawn, as in the released code.

    Quarter turns and mixing are off there. Rescaling, flips and displacements move the image relative to its target.

    Args:
        key: typed PRNG key.
        window: `[z, Y, X]` float32 in [0, 1], 1.5 times the crop in y and x.
        crop_size: (z, y, x).

    Returns:
        `[z, y, x]` float32.
    """
    crop = geometry.central(window, crop_size)
    operators = (
        lambda k: geometry.rescale(k, window, crop_size),
        lambda k: geometry.flip(k, crop),
        lambda k: intensity.intensity(k, crop),
        lambda k: intensity.noise(k, crop),
        lambda k: intensity.blur(k, crop),
        lambda k: defects.cutout(k, crop).volume,
        lambda k: intensity.sobel(k, crop),
        lambda k: defects.misalign(k, crop).volume,
        lambda k: geometry.elastic(k, crop).volume,
        lambda k: defects.fold(k, crop).volume,
        lambda k: defects.missing(k, crop).volume,
        lambda k: defects.section_blur(k, crop),
    )
    choice_key, *keys = jax.random.split(key, 1 + len(operators))
    choice = geometry.whole_numbers(jax.random.uniform(choice_key), 0, len(operators) - 1)
    # A switch under vmap computes all branches anyway; here this is explicit.
    results = [operator(k) for operator, k in zip(operators, keys, strict=True)]
    return jax.lax.select_n(choice, *results)
