"""Recipes: which operators act on a crop, how often and how strongly.

'ours' shares the geometry between the two views and degrades one of them weakly, the other
strongly. 'released' follows the released code of "Learning Multiscale Consistency for
Self-supervised Electron Microscopy Instance Segmentation" (arXiv:2308.09917), including its
unregistered geometry, for ablation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from emjax.augment import defects, geometry, intensity
from emjax.augment.geometry import Warped
from emjax.config import nearest
from emjax.errors import InputError
from emjax.geometry.sizes import Size


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the two views of a window are made.

    Attributes:
        name: 'ours' or 'released'.
        max_offset: (z, y, x) largest distance between the cuts of two views in the shared window,
            voxels.
        own_orientation: whether each view has its own flips and, if y and x have the same size, its own
            quarter turn.
        orientation_probability: probability that the shared window is flipped or transposed (one of 16).
        rescale_probability: probability that the shared window is rescaled in the plane.
        rescale_range: smallest and largest magnification.
        elastic_probability: probability that the shared window is deformed.
        elastic_spacing: (z, y, x) distance between control points, voxels.
        elastic_jitter: standard deviation of the control points, voxels.
        intensity_probability: probability that contrast, brightness and gamma change.
        contrast: largest change of the factor.
        brightness: largest summand, grey values of [0, 1].
        gamma_octaves: largest exponent, in powers of two.
        noise_probability: probability that a view, weak or strong, gets weak noise.
        noise_sigma: largest standard deviation of weak noise, grey values of [0, 1].
        blur_probability: probability that a view, weak or strong, gets a weak blur.
        blur_sigma: largest standard deviation of the weak blur, voxels.
        strong_count: fewest and most defects of a strong view.
        strong_weights: (operator, weight) of the defects, drawn without replacement. The source
            states the weights of cut-outs and edges only; the others are our choice.
        strong_noise_sigma: smallest and largest standard deviation of strong noise, grey values of
            [0, 1].
        misalign_shift: largest shift of a section, voxels.
    """

    name: str = "ours"
    max_offset: Size = (2, 16, 16)
    own_orientation: bool = True
    orientation_probability: float = 1.0
    rescale_probability: float = 0.5
    rescale_range: tuple[float, float] = (0.75, 4 / 3)
    elastic_probability: float = 0.3
    elastic_spacing: Size = (4, 40, 40)
    elastic_jitter: float = 2.0
    intensity_probability: float = 0.8
    contrast: float = 0.05
    brightness: float = 0.05
    gamma_octaves: float = 1.0
    noise_probability: float = 0.3
    noise_sigma: float = 0.05
    blur_probability: float = 0.3
    blur_sigma: float = 1.0
    strong_count: tuple[int, int] = (1, 3)
    strong_weights: tuple[tuple[str, float], ...] = (
        ("cutout", 0.5),
        ("missing", 0.2),
        ("misalign", 0.2),
        ("fold", 0.2),
        ("section_blur", 0.2),
        ("noise", 0.2),
        ("sobel", 0.1),
    )
    strong_noise_sigma: tuple[float, float] = (0.01, 0.2)
    misalign_shift: int = 17


OURS = Recipe()
# The operators have the released parameters as defaults; of this recipe only the settings given here are read.
RELEASED = Recipe(
    name="released",
    max_offset=(0, 0, 0),
    own_orientation=False,
    orientation_probability=0.5,
    rescale_range=(2 / 3, 1.5),
)
RECIPES = {recipe.name: recipe for recipe in (OURS, RELEASED)}


def make_recipe(name: str, **overrides: Any) -> Recipe:
    """Builds a recipe by name.

    Args:
        name: 'ours' or 'released'.
        **overrides: fields of `Recipe` to change; lists become tuples. 'released' cannot be changed.

    Raises:
        InputError: if the name or a field is unknown, a value is out of range, or 'released' is changed.
    """
    if name not in RECIPES:
        raise InputError(f"recipe={name!r} is unknown{nearest(name, RECIPES)}")
    base = RECIPES[name]
    fields = {field.name for field in dataclasses.fields(Recipe)} - {"name"}
    for field in overrides:
        if field not in fields:
            raise InputError(f"recipe field {field!r} is unknown{nearest(field, fields)}")
    values = {field: _as_tuples(value) for field, value in overrides.items()}
    changed = [field for field, value in values.items() if value != getattr(base, field)]
    if name == "released" and changed:
        listed = ", ".join(f"augment.{field}={values[field]}" for field in changed)
        raise InputError(
            f"augment.recipe='released' is fixed, {listed} would have no effect; give the recipe alone, or "
            "augment.recipe=ours"
        )
    recipe = dataclasses.replace(base, **values)
    _check(recipe)
    return recipe


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _check(recipe: Recipe) -> None:
    """Refuses values that are impossible for every crop."""

    def need(good: bool, field: str, what: str) -> None:
        if not good:
            raise InputError(f"recipe field {field}={getattr(recipe, field)!r} must be {what}")

    sizes = "three whole numbers (z, y, x), {}"
    need(_whole(recipe.max_offset, 0), "max_offset", sizes.format("0 or more"))
    need(_whole(recipe.elastic_spacing, 1), "elastic_spacing", sizes.format("1 or more"))
    for field in (f.name for f in dataclasses.fields(recipe) if f.name.endswith("_probability")):
        need(0 <= getattr(recipe, field) <= 1, field, "between 0 and 1")
    for field in ("elastic_jitter", "contrast", "brightness", "gamma_octaves", "noise_sigma"):
        need(getattr(recipe, field) >= 0, field, "0 or more")
    need(recipe.blur_sigma >= 0, "blur_sigma", "0 or more")
    need(recipe.misalign_shift >= 0, "misalign_shift", "0 or more")
    for field in ("rescale_range", "strong_noise_sigma", "strong_count"):
        pair = getattr(recipe, field)
        need(len(pair) == 2 and 0 <= pair[0] <= pair[1], field, "a smallest and a largest value")
    need(recipe.rescale_range[0] > 0, "rescale_range", "above 0")
    known = {name for name, _ in OURS.strong_weights}
    names = [name for name, _ in recipe.strong_weights]
    for name in names:
        if name not in known:
            raise InputError(
                f"recipe strong_weights name {name!r} is unknown{nearest(name, known)}"
            )
    good = len(set(names)) == len(names) and all(weight > 0 for _, weight in recipe.strong_weights)
    need(good, "strong_weights", "distinct operators with weights above 0")
    need(recipe.strong_count[1] <= len(names), "strong_count", f"at most {len(names)} defects")


def _whole(values: Sequence[Any], least: int) -> bool:
    return len(values) == 3 and all(isinstance(v, int) and v >= least for v in values)


def shared_size(crop_size: Size, recipe: Recipe) -> Size:
    """Returns the size of the window from which both views are cut, (z, y, x) voxels."""
    z, y, x = (size + offset for size, offset in zip(crop_size, recipe.max_offset, strict=True))
    return z, y, x


def window_size(crop_size: Size, recipe: Recipe) -> Size:
    """Returns the size of the window that the loader must cut for a crop, (z, y, x) voxels.

    The margin holds the offsets between the views and the voxels that the smallest magnification reads. 'released'
    reads 1.5 times the side in y and x; its own code cut more and used no more of it. The elastic deformation mirrors
    at the border of the shared window instead of reading a margin of its own (our choice).
    """
    z, y, x = shared_size(crop_size, recipe)
    if recipe.rescale_probability == 0:
        return z, y, x
    if recipe.name == "released":
        return z, *(geometry.released_reach(side, recipe.rescale_range) for side in (y, x))
    return z, geometry.reach(y, recipe.rescale_range), geometry.reach(x, recipe.rescale_range)


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
        orient_key, window.shape, recipe.orientation_probability
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
        probability=recipe.intensity_probability,
    )
    volume = intensity.noise(keys[1], volume, (0.0, recipe.noise_sigma), recipe.noise_probability)
    return intensity.blur(
        keys[2], volume, (0.0, recipe.blur_sigma), probability=recipe.blur_probability
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
            keys["misalign"], volume, recipe.misalign_shift, probability=chosen["misalign"]
        )
    if "fold" in chosen:
        fold = defects.fold(keys["fold"], shift.volume, probability=chosen["fold"])
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
        blur = chosen["section_blur"]
        image = defects.section_blur(keys["section_blur"], image, probability=blur)
    if "noise" in chosen:
        image = intensity.noise(keys["noise"], image, recipe.strong_noise_sigma, chosen["noise"])
    for operator in (defects.cutout, defects.missing):
        name = operator.__name__
        if name in chosen:
            cut = operator(keys[name], image, probability=chosen[name])
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
