"""Variants of a network that is right are right: mapped back, they all say the same."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.inference.variants import COUNTS, Variant, make_variants

SIZE = (6, 9, 9)
NEAREST = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
# A long edge with its transposed, a diagonal with a partner under some variants, one without, and no edge.
OFFSETS = (*NEAREST, (0, -3, 0), (0, 0, -3), (0, -2, -1), (0, -1, -2), (-2, -1, 0), None)
UNKNOWN = 0.37


def _labels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 3, SIZE)


def oracle(labels: np.ndarray, offsets=OFFSETS) -> np.ndarray:
    """What a perfect network says: exact where it sees both ends of an edge, anything where it does not."""
    channels = []
    for offset in offsets:
        if offset is None:
            channels.append(labels == 1)
            continue
        channel = np.full(labels.shape, UNKNOWN)
        for place in np.ndindex(labels.shape):
            other = tuple(np.add(place, offset))
            if all(0 <= a < n for a, n in zip(other, labels.shape, strict=True)):
                channel[place] = labels[place] == labels[other]
        channels.append(channel)
    return np.stack(channels, -1).astype(np.float32)


def _known(offsets=OFFSETS) -> np.ndarray:
    return oracle(np.ones(SIZE, int), offsets) == 1


def test_flips_are_of_the_axes_they_name() -> None:
    image = np.arange(24).reshape(2, 3, 4)
    for axis in range(3):
        flips = tuple(a == axis for a in range(3))
        np.testing.assert_array_equal(Variant(flips).forward(image), np.flip(image, axis))
        batch = np.stack([image, image + 1])
        np.testing.assert_array_equal(Variant(flips).forward(batch), np.flip(batch, axis + 1))
    square = np.arange(18).reshape(2, 3, 3)
    np.testing.assert_array_equal(
        Variant(transpose=True).forward(square), square.transpose(0, 2, 1)
    )


def test_there_are_as_many_as_asked_and_all_differ() -> None:
    for count in COUNTS:
        variants = make_variants(count, SIZE)
        image = np.random.default_rng(0).random(SIZE)
        made = {np.asarray(v.forward(image)).tobytes() for v in variants}
        assert len(variants) == len(made) == count
        assert variants[0] == Variant()


@pytest.mark.parametrize("variant", make_variants(16, SIZE), ids=str)
def test_inverse_undoes_forward(variant: Variant) -> None:
    image = np.random.default_rng(0).random(SIZE)
    back = variant.inverse(variant.forward(image)[..., None], (None,))
    np.testing.assert_array_equal(back[..., 0], image.astype(np.float32))


@pytest.mark.parametrize("variant", make_variants(16, SIZE), ids=str)
def test_every_variant_of_an_oracle_is_exact_where_it_counts(variant: Variant) -> None:
    labels = _labels()
    predictions = oracle(np.asarray(variant.forward(labels)))
    mapped = np.asarray(variant.inverse(jnp.asarray(predictions), OFFSETS))
    weight = variant.weight(SIZE, OFFSETS)
    counted = (weight > 0) & _known()
    np.testing.assert_array_equal(mapped[counted], oracle(labels)[counted])
    np.testing.assert_array_equal(mapped[weight == 0], 0)
    # Edges along axes all take part, wherever the tile holds both ends.
    np.testing.assert_array_equal(counted[..., :5], _known()[..., :5])


def test_the_mean_over_all_variants_of_an_oracle_is_the_oracle() -> None:
    labels = _labels()
    total, count, blurred = 0.0, 0.0, 0.0
    for variant in make_variants(16, SIZE):
        predictions = jnp.asarray(oracle(np.asarray(variant.forward(labels))))
        total = total + variant.inverse(predictions, OFFSETS)
        count = count + variant.weight(SIZE, OFFSETS)
        blurred = blurred + variant.inverse(predictions, (None,) * len(OFFSETS)) / 16
    assert count.min() >= 1
    expected, known = oracle(labels), _known()
    np.testing.assert_allclose((total / count)[known], expected[known], atol=1e-6)
    # Without re-indexing, most edges are averaged with edges of other voxels.
    assert np.mean(np.abs(np.asarray(blurred) - expected)[..., :8][known[..., :8]] > 0.1) > 0.5


def test_a_flip_by_hand() -> None:
    """A row 1 1 2: the edge to the voxel before is (-, 1, 0); mirrored 2 1 1 it is (-, 0, 1)."""
    variant = Variant((False, False, True))
    predictions = jnp.array([UNKNOWN, 0.0, 1.0]).reshape(1, 1, 3, 1)
    mapped = variant.inverse(predictions, ((0, 0, -1),))
    np.testing.assert_array_equal(np.ravel(mapped), [0, 1, 0])
    np.testing.assert_array_equal(np.ravel(variant.weight((1, 1, 3), ((0, 0, -1),))), [0, 1, 1])


def test_an_offset_longer_than_the_tile_is_left_to_variants_that_do_not_turn_it() -> None:
    variant = Variant((False, False, True))
    predictions = jnp.ones((1, 1, 3, 1))
    np.testing.assert_array_equal(variant.inverse(predictions, ((0, 0, -9),)), 0)
    np.testing.assert_array_equal(variant.weight((1, 1, 3), ((0, 0, -9),)), 0)


def test_mistakes() -> None:
    with pytest.raises(InputError, match="square"):
        make_variants(16, (4, 8, 9))
    with pytest.raises(InputError, match="one of 1, 4, 8, 16"):
        make_variants(7, SIZE)
