"""Axes by their names, as files have them."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.axes import arrange, attribute_names, axis_names, kept_axes

NONE = (None, None, None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Z", "Y", "X"), ("z", "y", "x")),
        ((b"z", " y ", "x"), ("z", "y", "x")),
        (("depth", "height", "width"), ("z", "y", "x")),
        (("c^", "row", "col"), ("c", "y", "x")),
        (("", None, "x"), (None, None, "x")),
        # Placeholders, and names of another array.
        (("dim_0", "dim_1", "dim_2"), NONE),
        (("phony_dim_0", "phony_dim_1", ""), NONE),
        (("z", "y"), NONE),
        (("i", "j", "k"), ("i", "j", "k")),
    ],
)
def test_names(names: tuple, expected: tuple) -> None:
    assert axis_names(names, 3) == expected


@pytest.mark.parametrize(
    "attributes",
    [
        {"axistags": json.dumps({"axes": [{"key": k} for k in "xyz"]})},
        {"_ARRAY_DIMENSIONS": ["x", "y", "z"]},
        {"axis_names": np.array(["x", "y", "z"])},
        {"axes": "xyz"},
        {"axes": "x, y, z"},
        {"axes": [{"name": "x"}, {"name": "y"}, {"name": "z"}]},
        {"axistags": "damaged", "axes": "xyz"},
    ],
)
def test_names_in_attributes(attributes: dict) -> None:
    assert attribute_names(attributes, 3) == ("x", "y", "z")


def test_attributes_that_name_nothing() -> None:
    for attributes in ({}, {"axes": 3}, {"axes": {"x": 0}}, {"axes": "tczyx"}, {"axistags": "[]"}):
        assert attribute_names(attributes, 3) == NONE


def test_every_order_is_turned() -> None:
    voxels = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for order in itertools.permutations(range(4)):
        names = tuple("czyx"[axis] for axis in order)
        for extra in range(5):
            turned = np.expand_dims(voxels.transpose(order), extra)
            named = (*names[:extra], "t", *names[extra:])
            store = ts.array(np.ascontiguousarray(turned))
            np.testing.assert_array_equal(arrange(store, named, "a").read().result(), voxels)


def test_axes_without_names() -> None:
    assert kept_axes((4, 5, 6), NONE, "a") == [0, 1, 2]
    assert kept_axes((1, 1, 4, 5, 6), (None,) * 5, "a") == [2, 3, 4]
    assert kept_axes((1, 2, 4, 5, 6), (None,) * 5, "a") == [1, 2, 3, 4]
    assert kept_axes((1, 1, 6), NONE, "a") == [0, 1, 2]


@pytest.mark.parametrize(
    ("shape", "names", "helps"),
    [
        ((4, 5), (None, None), r"axes of \(4, 5\); a volume needs z, y, x"),
        ((2, 2, 4, 5, 6), (None,) * 5, "a volume needs z, y, x or c, z, y, x"),
        ((8, 32, 40, 1), (None,) * 4, r"\(8, 32, 40, 1\) without names, and the last is no x"),
        ((4, 5, 6), ("t", "y", "x"), "a has the axes t of 4, y of 5, x of 6; a volume needs z, y"),
        ((4, 5, 6), ("z", None, "x"), r"axes z of 4, \? of 5, x of 6"),
        ((4, 5, 6), ("z", "x", "x"), "each once"),
        ((2, 4, 5, 6), ("t", "z", "y", "x"), "axes t of 2, .*; emjax reads one time"),
        ((2, 3, 4, 5, 6), ("c", "s", "z", "y", "x"), "axes c of 2, s of 3"),
    ],
)
def test_what_cannot_be_understood(shape: tuple, names: tuple, helps: str) -> None:
    with pytest.raises(InputError, match=helps):
        kept_axes(shape, names, "a")
