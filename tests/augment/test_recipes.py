"""Recipes: names and fields, window sizes, the choice of defects."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment import defects, degradation, intensity, recipes
from emjax.augment.geometry import Warped
from emjax.augment.presets import augmentation
from emjax.command_line import load_config, parse
from emjax.config import flatten, plain
from emjax.config_comments import comment_on
from emjax.errors import InputError
from emjax.tasks.build import build_pretrain, build_segment


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
        ("ours", {"cutout_side": (0, 4)}, "cutout_side=.*1 or more"),
        ("ours", {"fold_width": 10}, "above the largest fold_half_width, 10"),
        ("ours", {"fold_sections": 0}, "fold_sections=0 must be 1 or more"),
        ("ours", {"section_blur_sigma": (2.0, 1.0)}, "smallest and a largest"),
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
    drawn = jax.vmap(lambda k: degradation.choose_defects(k, recipe))(keys)
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
    np.testing.assert_array_equal(degradation.weaken(jax.random.key(1), image, recipe), image)


def test_weights_exclude_operators():
    recipe = recipes.make_recipe("ours", strong_weights={"missing": 1}, strong_count=(1, 1))
    image = jnp.asarray(np.random.default_rng(0).random((4, 16, 16), np.float32))
    out = degradation.damage(jax.random.key(2), image, recipe)
    assert not out.displacement.any()
    np.testing.assert_array_equal(out.volume, np.where(out.valid, image, 0))


def test_released_draws_all_operators():
    window = jnp.asarray(np.random.default_rng(0).random((6, 36, 36), np.float32))
    make = jax.jit(jax.vmap(lambda k: degradation.degrade_released(k, window, (6, 24, 24))))
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
        jax.vmap(lambda key, volume: degradation.damage(key, volume, recipe), in_axes=(0, None))
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


def test_a_defect_without_weight_is_left_out():
    """The others keep their order, whatever the order that they are given in: it decides their random numbers."""
    given = {"fold": 2, "cutout": 1, "noise": 0}
    recipe = recipes.make_recipe("ours", strong_weights=given, strong_count=(1, 2))
    assert recipe.strong_weights == (("cutout", 1), ("fold", 2))


def test_the_fields_of_a_configuration_are_those_of_the_recipe():
    fields = plain(augmentation())
    assert recipes.make_recipe("ours", **fields) == recipes.OURS
    own = {"name", "max_offset", "own_orientation"}
    assert fields.keys() | own == {field.name for field in dataclasses.fields(recipes.Recipe)}
    config = load_config("configs/finetune.py")
    for name in flatten(plain(config.augment)):
        assert comment_on(config, f"augment.{name}"), name


def _other(value):
    """Another value of the same type that is allowed for every field with such a value."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list | tuple):
        return tuple(_other(item) for item in value)
    return value + 1 if isinstance(value, int) else value / 2 + 0.001


def test_every_field_can_be_set_by_a_command():
    for job, build in (("pretrain", build_pretrain), ("finetune", build_segment)):
        preset = flatten(plain(load_config(f"configs/{job}.py:smoke").augment))
        wanted = {name: _other(v) for name, v in preset.items() if not isinstance(v, str)}
        texts = {n: ",".join(map(str, v)) if isinstance(v, tuple) else v for n, v in wanted.items()}
        command = [f"--config.augment.{name}={text}" for name, text in texts.items()]
        config, _ = parse(["--config", f"configs/{job}.py:smoke", *command])
        task = build(plain(config))
        found = dataclasses.asdict(task.recipe)
        found |= {f"strong_weights.{name}": w for name, w in task.recipe.strong_weights}
        found["strong_probability"] = getattr(task, "strong_probability", None)
        assert len(wanted) > 35 and {name: found[name] for name in wanted} == wanted
    with pytest.raises(InputError, match="did you mean --config.augment.fold_width"):
        parse(["--config", "configs/finetune.py", "--config.augment.fold_widht=3"])


def test_every_field_of_a_defect_reaches_its_operator(monkeypatch):
    seen = {}

    def spy(name, result):
        def operator(key, volume, *values, probability=1.0):
            seen[name] = values
            return result(volume)

        return operator

    stays = defects.undisplaced
    for name in ("misalign", "fold", "cutout", "missing"):
        monkeypatch.setattr(defects, name, spy(name, stays))
    monkeypatch.setattr(defects, "section_blur", spy("section_blur", lambda volume: volume))
    for name in ("intensity", "blur"):
        monkeypatch.setattr(intensity, name, spy(name, lambda volume: volume))
    recipe = recipes.make_recipe(
        "ours",
        **{
            name: _other(v) for name, v in plain(augmentation()).items() if name != "strong_weights"
        },
    )
    volume = jnp.zeros((4, 16, 16))
    # Traced alone, so that nothing is compiled.
    run = lambda key: degradation.degrade(key, volume, "strong", recipe)  # noqa: E731
    assert isinstance(jax.eval_shape(run, jax.random.key(0)), Warped)
    for name in ("cutout", "fold", "missing", "section_blur"):
        fields = {f: v for f, v in dataclasses.asdict(recipe).items() if f.startswith(f"{name}_")}
        assert seen[name] == tuple(fields.values())
    assert seen["misalign"] == (recipe.misalign_shift, recipe.misalign_section_probability)
    assert recipe.intensity_section_probability in seen["intensity"]
    assert recipe.blur_radius in seen["blur"]
