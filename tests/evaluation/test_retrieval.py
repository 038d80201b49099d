from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.evaluation.retrieval import (
    chance_top1,
    draw_distractors,
    matching_error_voxels,
    patch_descriptors,
    position_code,
    retrieval_top1,
    soft_argmax,
)

RADIUS = (1, 4, 4)


def _places(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.uniform(0, 32, size=(count, 3)), np.repeat(np.arange(4), count // 4)


def test_top1_by_hand():
    keys = np.array([[1.0, 0], [0, 1], [-1, 0]])
    queries = np.array([[2.0, 1], [1, 0.5], [-1, 0]])  # the second is nearer to the first key
    distractors = np.array([[1, 2], [0, 2], [0, 1]])
    assert retrieval_top1(queries, keys, distractors) == pytest.approx(2 / 3)
    assert chance_top1(distractors) == pytest.approx(1 / 3)


def test_distractors_are_far_or_of_another_crop_and_never_repeat():
    coordinates, crops = _places()
    chosen = draw_distractors(coordinates, crops, exclusion_radius=RADIUS, count=64)
    same_crop = 0
    for i, row in enumerate(chosen):
        assert len(set(row)) == 64 and i not in row
        same = row[crops[row] == crops[i]]
        same_crop += len(same)
        assert np.all(np.any(np.abs(coordinates[same] - coordinates[i]) > RADIUS, axis=1))
    assert same_crop > 0


def test_a_near_key_is_left_out_along_every_axis_only():
    coordinates = np.array([[0.0, 0, 0], [1, 4, 4], [2, 0, 0], [0, 0, 5]] + 5 * [[0, 0, 0]])
    crops = np.array([0] * 4 + [1] * 5)
    chosen = draw_distractors(coordinates, crops, exclusion_radius=RADIUS, count=4)
    everything = draw_distractors(coordinates[:8], crops[:8], exclusion_radius=RADIUS, count=4)
    assert 1 not in chosen[0] and set(everything[4]) == {0, 1, 2, 3}
    # The first query has just seven possible distractors: 2, 3 and the other crop.
    with pytest.raises(InputError, match="query 0 has 7 "):
        draw_distractors(coordinates, crops, exclusion_radius=RADIUS, count=8)


def test_distractors_are_always_the_same_for_a_seed():
    coordinates, crops = _places()
    options = {"exclusion_radius": RADIUS, "count": 20}
    first = draw_distractors(coordinates, crops, **options)
    np.testing.assert_array_equal(first, draw_distractors(coordinates, crops, **options))
    assert np.any(first != draw_distractors(coordinates, crops, **options, seed=1))


def test_random_and_constant_features_score_chance_and_equal_ones_everything():
    coordinates, crops = _places(400)
    chosen = draw_distractors(coordinates, crops, exclusion_radius=RADIUS, count=19)
    rng = np.random.default_rng(1)
    queries, keys = rng.normal(size=(2, 400, 8)).astype(np.float32)
    assert retrieval_top1(queries, keys, chosen) == pytest.approx(0.05, abs=0.04)
    constant = np.ones((400, 8), np.float32)
    assert retrieval_top1(constant, 3 * constant, chosen) == pytest.approx(0.05)
    assert retrieval_top1(0 * constant, 0 * constant, chosen) == pytest.approx(0.05)
    assert retrieval_top1(queries, 2 * queries, chosen) == 1
    assert retrieval_top1(queries * np.nan, keys, chosen) == 0


def test_too_few_distractors():
    coordinates, crops = _places(8)
    with pytest.raises(InputError, match="possible distractors of the 255 needed"):
        draw_distractors(coordinates, crops, exclusion_radius=RADIUS)


def test_patches_by_hand():
    image = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    patch = patch_descriptors(image, np.array([[[0.0, 1.5, 1.5]]]), patch_size=2)[0, 0]
    expected = np.array([5, 6, 9, 10]) - 7.5
    np.testing.assert_allclose(patch, expected / np.linalg.norm(expected), rtol=1e-5)


def test_patches_ignore_brightness_and_contrast_and_find_their_twin():
    rng = np.random.default_rng(2)
    image = rng.uniform(size=(2, 4, 40, 40)).astype(np.float32)
    points = rng.uniform([0, 0, 0], [3, 39, 39], size=(2, 5, 3))
    patches = patch_descriptors(image, points)
    assert patches.shape == (2, 5, 256) and patches.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(patches, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(patch_descriptors(0.3 * image + 0.2, points), patches, atol=1e-5)
    shifted = np.roll(image, (1, 3), axis=(1, 3))[:, :, :, 12:36]
    inside = np.array([[[1.0, 20, 22]], [[2, 21, 23.5]]])
    moved = inside + np.array([1, 0, 3 - 12])
    np.testing.assert_allclose(
        patch_descriptors(shifted, moved), patch_descriptors(image, inside), atol=1e-5
    )


def test_constant_patches_are_zero():
    assert not patch_descriptors(np.full((1, 2, 20, 20), 0.1), np.full((1, 1, 3), 1.0)).any()


def test_matching_error_by_hand():
    positions = np.array([[0.0, 0, 0], [0, 0, 4], [2, 0, 0]])
    attention = np.array([[0.5, 0.5, 0], [0, 0, 1]])
    truth = np.array([[0.0, 0, 5], [2, 0, 0]])
    assert matching_error_voxels(attention, positions, truth) == pytest.approx(1.5)
    assert matching_error_voxels(attention, positions, truth, np.array([True, False])) == 3
    assert np.isnan(matching_error_voxels(attention, positions, truth, np.zeros(2, bool)))


def test_soft_argmax_of_distinct_features_finds_the_place_in_batches():
    rng = np.random.default_rng(3)
    candidates = rng.normal(size=(2, 30, 16))
    positions = rng.uniform(0, 20, size=(2, 30, 3))
    attention = soft_argmax(5 * candidates[:, :7], candidates, temperature=0.01)
    np.testing.assert_allclose(attention.sum(axis=-1), 1)
    assert matching_error_voxels(attention, positions, positions[:, :7]) < 1e-3
    flat = soft_argmax(np.zeros((7, 16)), candidates[0])
    centre = np.linalg.norm(positions[0].mean(axis=0) - positions[0, :7], axis=-1).mean()
    assert matching_error_voxels(flat, positions[0], positions[0, :7]) == pytest.approx(centre)


def test_raw_pixels_find_clean_twins_in_real_images(shared_data: Path):
    """Why the two views need noise of their own: without it, features have nothing to learn."""
    with h5py.File(shared_data / "neurons" / "fib25_val_crop_unlabelled.h5") as file:
        image = file["raw"][:16, :128, :128]
    rng = np.random.default_rng(4)
    points = rng.uniform([2, 24, 24], [13, 103, 103], size=(1, 300, 3)).round()
    offset = np.array([1, 5, -7])
    moved = np.roll(image, offset, axis=(0, 1, 2))
    first = patch_descriptors(image[None], points)[0]
    second = patch_descriptors(moved[None], points + offset)[0]
    places, crops = points[0], np.zeros(300, int)
    chosen = draw_distractors(places, crops, exclusion_radius=(1, 8, 8), count=127)
    assert retrieval_top1(first, second, chosen) == 1
    noisy = moved + rng.normal(0, 60, moved.shape)
    second = patch_descriptors(noisy[None], points + offset)[0]
    assert 1 / 128 < retrieval_top1(first, second, chosen) < 1


def test_a_position_code_knows_the_place_and_nothing_else():
    corner, middle = position_code([[-0.5, -0.5, -0.5], [1.5, 3.5, 3.5]], (4, 8, 8))
    # Waves of a quarter, a half, one and two a view, from -1 to 1 of it: sine and cosine of each.
    np.testing.assert_allclose(corner[:8], [-1, 0, 0, -1, 0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(middle, np.tile([0, 1], 12), atol=1e-12)
    places = np.stack(np.meshgrid(*map(np.arange, (4, 8, 8)), indexing="ij"), -1).reshape(-1, 3)
    code = position_code(places, (4, 8, 8))
    nearest = np.argsort(-(code @ code.T), axis=1)[:, 0]
    np.testing.assert_array_equal(nearest, np.arange(len(places)))
