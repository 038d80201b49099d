"""Image and labels move together; no id is invented; nothing happens at probability 0."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment.geometry import central
from emjax.augment.labelled import IGNORE, augment_labelled
from emjax.augment.recipes import make_recipe, window_size
from emjax.errors import InputError

CROP = (6, 32, 32)
STILL = {
    "max_offset": (0, 0, 0),
    "orientation_probability": 0.0,
    "rescale_probability": 0.0,
    "elastic_probability": 0.0,
    "intensity_probability": 0.0,
    "noise_probability": 0.0,
    "blur_probability": 0.0,
}


def _cells(shape: tuple[int, ...], side: int = 11) -> np.ndarray:
    """Blocks with ids 1 to 5 in an order that no turn or flip maps to itself."""
    z, y, x = np.indices(shape)
    return ((z // 3 + 2 * (y // side) + 3 * (x // side)) % 5 + 1).astype(np.int32)


def _grey(labels: np.ndarray) -> np.ndarray:
    return (labels * 50).astype(np.uint8)


def _recipe(**changes):
    return make_recipe("ours", **STILL | changes)


def _batch(recipe, strong_probability: float, count: int = 24):
    size = window_size(CROP, recipe)
    labels = jnp.asarray(_cells(size))
    window = jnp.asarray(_grey(_cells(size)))
    keys = jax.random.split(jax.random.key(0), count)
    run = jax.jit(
        jax.vmap(
            lambda key: augment_labelled(key, window, labels, CROP, recipe, strong_probability)
        )
    )
    image, found = run(keys)
    return np.asarray(image), np.asarray(found), np.asarray(central(labels, CROP))


def test_nothing_happens_at_probability_zero():
    image, labels, expected = _batch(_recipe(), 0.0, count=3)
    for one, other in zip(image, labels, strict=True):
        np.testing.assert_array_equal(other, expected)
        np.testing.assert_array_equal(one, _grey(expected).astype(np.float32) / 255)


@pytest.mark.parametrize(
    ("changes", "strong", "agreeing"),
    [
        ({"orientation_probability": 1.0}, 0.0, 1.0),
        ({"rescale_probability": 1.0}, 0.0, 0.8),
        ({"elastic_probability": 1.0, "elastic_jitter": 4.0}, 0.0, 0.75),
        ({"strong_weights": {"misalign": 1.0}, "strong_count": (1, 1)}, 1.0, 1.0),
        ({"strong_weights": {"fold": 1.0}, "strong_count": (1, 1)}, 1.0, 0.7),
    ],
)
def test_labels_follow_the_image(changes, strong, agreeing):
    image, labels, still = _batch(_recipe(**changes), strong)
    assert set(np.unique(labels)) <= {IGNORE, 1, 2, 3, 4, 5}
    moved = [not np.array_equal(one, still) for one in labels]
    assert np.mean(moved) > 0.5
    known = (labels != IGNORE) & (image > 0)  # a fold's gap is black
    # Interpolated voxels at the borders of cells have a grey value of their own.
    pure = np.isclose(image * 255 / 50, np.round(image * 255 / 50), atol=1e-3) & known
    assert pure.sum() >= agreeing * known.sum()
    right = np.round(image * 255 / 50) == labels
    # Where a border cell is skipped, two blends can look like a third id by chance.
    assert right[pure].mean() > 0.99


def test_what_comes_from_outside_is_unknown():
    recipe = _recipe(strong_weights={"misalign": 1.0}, strong_count=(1, 1))
    _, labels, _ = _batch(recipe, 1.0)
    assert (labels == IGNORE).any()
    # A slip moves at most a quarter of the section in y and in x.
    assert (labels == IGNORE).mean() < 0.44


def test_lost_sections_keep_their_labels():
    recipe = _recipe(strong_weights={"missing": 1.0, "cutout": 1.0}, strong_count=(2, 2))
    image, labels, still = _batch(recipe, 1.0)
    np.testing.assert_array_equal(labels, np.broadcast_to(still, labels.shape))
    assert (image == 0).any()


def test_several_kinds_of_labels_move_alike():
    recipe = _recipe(orientation_probability=1.0, rescale_probability=1.0, elastic_probability=1.0)
    size = window_size(CROP, recipe)
    labels = jnp.asarray(_cells(size))
    both = jnp.stack([labels, labels * 7], axis=-1)
    window = jnp.asarray(_grey(_cells(size)))
    key = jax.random.key(3)

    @jax.jit
    def run(key):
        return (
            *augment_labelled(key, window, labels, CROP, recipe, 0.0),
            *augment_labelled(jax.random.clone(key), window, both, CROP, recipe, 0.0),
        )

    image, one, again, two = run(key)
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(two[..., 0], one)
    np.testing.assert_array_equal(two[..., 1], np.where(one == IGNORE, IGNORE, one * 7))


@pytest.mark.parametrize("reverse", [True, False])
def test_the_order_of_sections_is_kept_where_it_shall_be(reverse):
    recipe = _recipe(orientation_probability=1.0, reverse_sections=reverse)
    depth = jnp.asarray(np.indices(CROP)[0])
    keys = jax.random.split(jax.random.key(0), 16)
    _, labels = jax.vmap(
        lambda key: augment_labelled(key, depth.astype(jnp.uint8), depth, CROP, recipe, 0.0)
    )(keys)
    kept = (np.asarray(labels) == np.asarray(depth)).all((1, 2, 3))
    assert kept.any() and kept.all() == (not reverse)


def test_a_small_window_is_refused():
    recipe = make_recipe("ours", max_offset=(0, 0, 0))
    window = jnp.zeros((6, 32, 32), jnp.uint8)
    with pytest.raises(InputError, match=r"window of \(6, 32, 32\) cannot give crops"):
        augment_labelled(jax.random.key(0), window, window.astype(jnp.int32), CROP, recipe)
