"""The compiled passes over crops equal what numpy says, slowly."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.data.grey_values import is_blank, stretch


def _slow(image: np.ndarray, low: float, high: float) -> np.ndarray:
    values = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(np.rint(np.nan_to_num(values, nan=0.0)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int16", "float16", "<f4", "float64"])
def test_stretch_equals_numpy_for_every_grey_value(dtype) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        image = np.concatenate([np.linspace(-300, 700, 9999), [np.nan, np.inf, -np.inf]])
    else:
        image = np.arange(max(np.iinfo(kind).min, -400), min(np.iinfo(kind).max, 900) + 1)
    image = image.astype(kind)
    for low, high in ((0, 255), (65, 198), (20.5, 211.25), (-7.5, 0.25)):
        np.testing.assert_array_equal(stretch(image, low, high), _slow(image, low, high))


def test_halves_go_to_the_even_neighbour() -> None:
    # (v - 0) * 255 / 510: 1 -> 0.5, 3 -> 1.5, 5 -> 2.5.
    found = stretch(np.array([1, 3, 5, 510], np.uint16), 0, 510)
    np.testing.assert_array_equal(found, [0, 2, 2, 255])


def test_views_are_stretched_in_their_own_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 8), np.uint8)
    for view in (image[:, ::-1], image.transpose(2, 0, 1), image[1:, 1:, 1:]):
        np.testing.assert_array_equal(stretch(view, 20, 200), _slow(view, 20, 200))


def test_blank_by_hand() -> None:
    # Grey values 126 and 130 have deviation 2, which is texture; 127 and 129 have 1.
    for low, high, blank in ((126, 130, False), (127, 129, True), (128, 128, True)):
        image = np.full((2, 8, 8), low, np.uint8)
        image[1] = high
        assert is_blank(image) == blank
    # Half of the voxels at 0 or 255 is a crop with black parts, more is padding.
    image = np.full((8, 8, 8), 100, np.uint8)
    image[:2], image[2:4] = 0, 255
    assert not is_blank(image)
    image[4] = 255
    assert is_blank(image)
