"""Recipes: which operators act on a crop, how often and how strongly.

'ours' shares the geometry between the two views and degrades one of them weakly, the other
strongly. 'released' follows the released code of "Learning Multiscale Consistency for
Self-supervised Electron Microscopy Instance Segmentation" (arXiv:2308.09917), including its
unregistered geometry, for ablation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from emjax.augment import geometry
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
        reverse_sections: whether flips include the reversal of z. Without, a network keeps what it makes of the
            order of sections, such as the unequal weights of colours (docs/attribution.md).
        rescale_probability: probability that the shared window is rescaled in the plane.
        rescale_range: smallest and largest magnification.
        elastic_probability: probability that the shared window is deformed.
        elastic_spacing: (z, y, x) distance between control points, voxels.
        elastic_jitter: standard deviation of the control points, voxels.
        intensity_probability: probability that contrast, brightness and gamma change.
        contrast: largest change of the factor.
        brightness: largest summand, grey values of [0, 1].
        gamma_octaves: largest exponent, in powers of two.
        intensity_section_probability: probability that each section gets its own change, not the volume one.
        noise_probability: probability that a view, weak or strong, gets weak noise.
        noise_sigma: largest standard deviation of weak noise, grey values of [0, 1].
        blur_probability: probability that a view, weak or strong, gets a weak blur.
        blur_sigma: largest standard deviation of the weak blur, voxels.
        blur_radius: smallest and largest radius of its kernel, voxels.
        strong_count: fewest and most defects of a strong view.
        strong_weights: (operator, weight) of the defects, drawn without replacement. The source
            states the weights of cut-outs and edges only; the others are our choice.
        strong_noise_sigma: smallest and largest standard deviation of strong noise, grey values of
            [0, 1].
        misalign_shift: largest shift of a section, voxels.
        misalign_section_probability: probability that a section is shifted.
        cutout_count: fewest and most cuboids in 18 x 160 x 160 voxels.
        cutout_depth: smallest and largest size of a cuboid in z, voxels.
        cutout_side: smallest and largest size of a cuboid in y and x, voxels.
        missing_whole_probability: probability that a section is lost, if whole sections are.
        missing_part_probability: probability that a section loses a rectangle, if rectangles are lost.
        fold_sections: most folded sections.
        fold_half_width: smallest and largest half width of the black band, voxels.
        fold_width: largest distance from the fold within which tissue vanishes, voxels.
        fold_slope: smallest and largest decay of the displacement with the distance.
        fold_margin: voxels by which a section is enlarged before the line of a fold is drawn across it.
        section_blur_sigma: smallest and largest standard deviation of blurred sections, voxels.
        section_blur_whole_probability: probability that a section is blurred, if whole sections are.
        section_blur_part_probability: probability that a rectangle of a section is blurred, if rectangles are.
    """

    name: str = "ours"
    max_offset: Size = (2, 16, 16)
    own_orientation: bool = True
    orientation_probability: float = 1.0
    reverse_sections: bool = True
    rescale_probability: float = 0.5
    rescale_range: tuple[float, float] = (0.75, 4 / 3)
    elastic_probability: float = 0.3
    elastic_spacing: Size = (4, 40, 40)
    elastic_jitter: float = 2.0
    intensity_probability: float = 0.8
    contrast: float = 0.05
    brightness: float = 0.05
    gamma_octaves: float = 1.0
    intensity_section_probability: float = 0.75
    noise_probability: float = 0.3
    noise_sigma: float = 0.05
    blur_probability: float = 0.3
    blur_sigma: float = 1.0
    blur_radius: tuple[int, int] = (1, 4)
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
    misalign_section_probability: float = 0.2
    cutout_count: tuple[int, int] = (60, 100)
    cutout_depth: tuple[int, int] = (5, 10)
    cutout_side: tuple[int, int] = (10, 20)
    missing_whole_probability: float = 0.2
    missing_part_probability: float = 0.5
    fold_sections: int = 5
    fold_half_width: tuple[int, int] = (5, 10)
    fold_width: int = 40
    fold_slope: tuple[float, float] = (1e-5, 0.1)
    fold_margin: int = 40
    section_blur_sigma: tuple[float, float] = (0.0, 5.0)
    section_blur_whole_probability: float = 0.5
    section_blur_part_probability: float = 0.7


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
        **overrides: fields of `Recipe` to change; lists become tuples. `strong_weights` may be a mapping, in which 0
            leaves a defect out. 'released' cannot be changed.

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
    if isinstance(overrides.get("strong_weights"), Mapping):
        values["strong_weights"] = _as_pairs(overrides["strong_weights"])
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


def _as_pairs(weights: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Returns weights in the order of `OURS`, since the place of a defect decides its random numbers."""
    known = [name for name, _ in OURS.strong_weights]
    for name in weights:
        if name not in known:
            raise InputError(
                f"recipe strong_weights name {name!r} is unknown{nearest(name, known)}"
            )
    return tuple((name, weights[name]) for name in known if weights.get(name))


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _check(recipe: Recipe) -> None:
    """Refuses values that are impossible for every crop."""

    def need(good: bool, field: str, what: str) -> None:
        if not good:
            raise InputError(f"recipe field {field}={getattr(recipe, field)!r} must be {what}")

    sizes = "three whole numbers (z, y, x), {}"
    need(isinstance(recipe.reverse_sections, bool), "reverse_sections", "true or false")
    need(_whole(recipe.max_offset, 0), "max_offset", sizes.format("0 or more"))
    need(_whole(recipe.elastic_spacing, 1), "elastic_spacing", sizes.format("1 or more"))
    for field in (f.name for f in dataclasses.fields(recipe) if f.name.endswith("_probability")):
        need(0 <= getattr(recipe, field) <= 1, field, "between 0 and 1")
    for field in _FROM_0:
        need(getattr(recipe, field) >= 0, field, "0 or more")
    need(recipe.fold_sections >= 1, "fold_sections", "1 or more")
    for field in _PAIRS:
        pair = getattr(recipe, field)
        need(len(pair) == 2 and 0 <= pair[0] <= pair[1], field, "a smallest and a largest value")
    need(recipe.rescale_range[0] > 0, "rescale_range", "above 0")
    for field in ("cutout_count", "cutout_depth", "cutout_side", "blur_radius"):
        need(getattr(recipe, field)[0] >= 1, field, "1 or more")
    need(
        recipe.fold_width > recipe.fold_half_width[1],
        "fold_width",
        f"above the largest fold_half_width, {recipe.fold_half_width[1]}",
    )
    names = [name for name, _ in recipe.strong_weights]
    good = len(set(names)) == len(names) and all(weight > 0 for _, weight in recipe.strong_weights)
    need(good, "strong_weights", "distinct operators with weights above 0")
    need(recipe.strong_count[1] <= len(names), "strong_count", f"at most {len(names)} defects")


# Fields that must not be negative, and those of a smallest and a largest value.
_FROM_0 = (
    *("elastic_jitter", "contrast", "brightness", "gamma_octaves", "noise_sigma", "blur_sigma"),
    *("misalign_shift", "fold_margin"),
)
_PAIRS = (
    *("rescale_range", "strong_noise_sigma", "strong_count", "blur_radius", "cutout_count"),
    *("cutout_depth", "cutout_side", "fold_half_width", "fold_slope", "section_blur_sigma"),
)


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
