"""Values that change their type: exactly, or as told, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.write.casting import IMAGE, LABELS, Cast, guess_kind


def test_kinds() -> None:
    # int8 and int16 are what MRC files of microscopes hold.
    for name in ("uint8", "int8", "uint16", "int16", "float32", "float16"):
        assert guess_kind(np.dtype(name)) == IMAGE
    for name in ("bool", "uint32", "int64", "uint64"):
        assert guess_kind(np.dtype(name)) == LABELS


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_stretched_values(dtype) -> None:
    cast = Cast(dtype, "uint8", (100, 610))
    cast.check(IMAGE)
    voxels = np.array([[[0, 100, 101, 102, 103, 609, 610, 900]]], dtype)
    # Two of the source are one of the target; halves go to the even one.
    np.testing.assert_array_equal(cast(voxels), [[[0, 0, 0, 1, 2, 254, 255, 255]]])
    assert cast(voxels).dtype == np.uint8


def test_stretched_in_parts_as_at_once() -> None:
    voxels = np.random.default_rng(0).normal(size=(3, 700, 1001)).astype(np.float32)
    cast = Cast("float32", "uint16", (-3.0, 3.0))
    scaled = np.clip(np.rint((voxels.astype(np.float64) + 3) * (65535 / 6)), 0, 65535)
    np.testing.assert_array_equal(cast(voxels), scaled)


def test_ids_are_exact_or_refused() -> None:
    cast = Cast("uint64", "uint32")
    cast.check(LABELS)
    np.testing.assert_array_equal(cast(np.array([[[0, 2**32 - 1]]], np.uint64)), [[[0, 2**32 - 1]]])
    with pytest.raises(InputError, match="a label is 4294967296, which uint32 cannot hold"):
        cast(np.array([[[2**32]]], np.uint64))
    with pytest.raises(InputError, match="a label is -1"):
        Cast("int64", "uint64")(np.array([[[5, -1]]]))


@pytest.mark.parametrize(
    ("cast", "kind", "helps"),
    [
        (Cast("uint16", "uint8"), IMAGE, "cannot hold all values of uint16; give value_range"),
        (Cast("float32", "float16"), IMAGE, "leave dtype out"),
        (Cast("uint64", "float64"), LABELS, "cannot hold all values of uint64"),
        (Cast("uint64", "uint8", (0, 9)), LABELS, "these are labels"),
        (Cast("uint16", "float32", (0, 9)), IMAGE, "stretches to uint8 or uint16"),
        (Cast("uint16", "uint8", (9, 9)), IMAGE, "the first must be the smaller"),
    ],
)
def test_what_would_lose_values(cast, kind, helps) -> None:
    with pytest.raises(InputError, match=helps):
        cast.check(kind)


def test_nothing_becomes_of_nan() -> None:
    with pytest.raises(InputError, match="NaN"):
        Cast("float32", "uint8", (0, 1))(np.array([[[0.5, np.nan]]], np.float32))


def test_wider_types_need_nothing() -> None:
    Cast("uint8", "float32").check(IMAGE)
    voxels = np.array([[[0, 255]]], np.uint8)
    assert Cast("uint8", "float32")(voxels).tolist() == [[[0.0, 255.0]]]
    assert Cast("uint8", "uint8")(voxels) is voxels


def test_labels_in_floats_that_are_whole_numbers() -> None:
    cast = Cast("float32", "uint32")
    cast.check("labels")
    found = cast(np.array([0, 7, 2**24], np.float32))
    assert found.dtype == np.uint32 and found.tolist() == [0, 7, 2**24]
    for value, message in (
        (0.5, "whole numbers"),
        (np.nan, "whole numbers"),
        (2**25, "above 16777216"),
        (-1, "a label is -1"),
    ):
        with pytest.raises(InputError, match=message):
            cast(np.array([1, value], np.float32))
    with pytest.raises(InputError, match="cannot hold"):
        cast.check("image")
