"""Recipes: names and fields, window sizes, the choice of defects."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment import recipes
from emjax.errors import InputError


def test_make_recipe_takes_overrides():
    recipe = recipes.make_recipe(
        "ours", max_offset=[1, 4, 4], strong_weights={"cutout": 1, "fold": 2}, strong_count=(1, 2)
    )
    assert recipe.max_offset == (1, 4, 4)
    assert recipe.strong_weights == (("cutout", 1), ("fold", 2))
    assert hash(recipe) == hash(
        recipes.make_recipe(
            "ours",
            **{f: getattr(recipe, f) for f in ("max_offset", "strong_weights", "strong_count")},
        )
    )
    assert recipes.make_recipe("released", own_orientation=False).max_offset == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "overrides", "match"),
    [
        ("our", {}, "did you mean 'ours'"),
        ("ours", {"noise_sigm": 1}, "did you mean 'noise_sigma'"),
        ("ours", {"blur_probability": 2}, "between 0 and 1"),
        ("ours", {"max_offset": (1, 2)}, "three whole numbers"),
        ("ours", {"rescale_range": (2, 1)}, "smallest and a largest"),
        ("ours", {"strong_weights": {"cutouts": 1}}, "did you mean 'cutout'"),
        ("ours", {"strong_weights": {"cutout": 1}}, "at most 1 defects"),
        ("released", {"max_offset": (1, 1, 1)}, "'released' is fixed"),
    ],
)
def test_mistakes_are_named(name, overrides, match):
    with pytest.raises(InputError, match=match):
        recipes.make_recipe(name, **overrides)


def test_window_size_by_hand():
    still = recipes.make_recipe("ours", rescale_probability=0, max_offset=(2, 8, 8))
    assert recipes.window_size((16, 64, 64), still) == (18, 72, 72)
    ours = recipes.make_recipe("ours", max_offset=(0, 0, 0))
    # 63 steps of 4/3 voxels and their end points, with margins of equal size
    assert recipes.window_size((16, 64, 64), ours) == (16, 86, 86)
    assert recipes.window_size((18, 160, 160), recipes.make_recipe("released")) == (18, 240, 240)


def test_defects_are_drawn_distinct_and_by_weight():
    recipe = recipes.make_recipe("ours")
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = jax.vmap(lambda k: recipes.choose_defects(k, recipe))(keys)
    counts = np.sum([np.asarray(v) for v in drawn.values()], axis=0)
    assert set(counts) == {1, 2, 3}
    single = {name: float(v[counts == 1].mean()) for name, v in drawn.items()}
    weights = dict(recipe.strong_weights)
    for name, share in single.items():
        assert abs(share - weights[name] / sum(weights.values())) < 0.04, name


def test_weak_without_probability_is_the_identity():
    recipe = recipes.make_recipe(
        "ours", intensity_probability=0, noise_probability=0, blur_probability=0
    )
    image = jnp.asarray(np.random.default_rng(0).random((4, 16, 16), np.float32))
    np.testing.assert_array_equal(recipes.weaken(jax.random.key(1), image, recipe), image)


def test_weights_exclude_operators():
    recipe = recipes.make_recipe("ours", strong_weights={"missing": 1}, strong_count=(1, 1))
    image = jnp.asarray(np.random.default_rng(0).random((4, 16, 16), np.float32))
    out = recipes.damage(jax.random.key(2), image, recipe)
    assert not out.displacement.any()
    np.testing.assert_array_equal(out.volume, np.where(out.valid, image, 0))


def test_released_draws_all_operators():
    window = jnp.asarray(np.random.default_rng(0).random((6, 36, 36), np.float32))
    make = jax.jit(jax.vmap(lambda k: recipes.degrade_released(k, window, (6, 24, 24))))
    keys = jax.random.split(jax.random.key(3), 48)
    out = np.asarray(make(keys))
    crop = np.asarray(window[:, 6:30, 6:30])
    assert out.min() >= 0 and out.max() <= 1
    assert len({o.tobytes() for o in out}) > 30
    # Flips keep the values, black defects do not.
    kept = [np.array_equal(np.sort(o.ravel()), np.sort(crop.ravel())) for o in out]
    assert 0 < np.mean(kept) < 0.5
    assert any((o == 0).mean() > 0.02 for o in out)


def test_the_displacement_of_shifted_and_folded_sections_is_that_of_the_tissue():
    both = {"misalign": 1.0, "fold": 1.0}
    recipe = recipes.make_recipe("ours", strong_weights=both, strong_count=(2, 2))
    shape = (6, 32, 32)
    _, *places = np.indices(shape, np.float32)
    keys = jax.random.split(jax.random.key(0), 12)
    run = jax.jit(
        jax.vmap(lambda key, volume: recipes.damage(key, volume, recipe), in_axes=(0, None))
    )
    # Two volumes say where their content was: along y, and along x.
    runs = [run(jax.random.clone(keys), (place + 1) / 255) for place in places]
    displacement = np.asarray(runs[0].displacement)
    source = [place + displacement[..., axis] for axis, place in enumerate(places)]
    known = np.all([(s >= 0) & (s <= 31) for s in source], axis=0)
    # What is black is the gap of a fold.
    known &= np.asarray(runs[0].volume) * 255 > 0.5
    assert known.mean() > 0.3 and np.abs(displacement[known]).max() > 8
    for one, wanted in zip(runs, source, strict=True):
        shown = np.asarray(one.volume)[known] * 255 - 1
        # Beside the border a voxel may be a blend with one that is mirrored in.
        assert np.abs(shown - wanted[known]).max() <= 1.5
