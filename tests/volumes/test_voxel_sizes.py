"""Voxel sizes by hand, as the tools of the field write them."""

from __future__ import annotations

import pytest

from emjax.volumes.voxel_sizes import (
    _say_impossible,
    attribute_voxel_nm,
    n5_voxel_nm,
    ome_voxel_nm,
    unit_nm,
)


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        *(("nm", 1), ("nanometer", 1), ("NM ", 1), ("Å", 0.1), ("angstrom", 0.1)),
        *(("µm", 1e3), ("μm", 1e3), ("\\u00b5m", 1e3), ("micron", 1e3), ("um", 1e3)),
        *(
            ("mm", 1e6),
            ("cm", 1e7),
            ("meter", 1e9),
            ("pixel", None),
            (None, None),
            ("", None),
            (b"um", 1e3),
        ),
    ],
)
def test_units(unit: str | None, nm: float | None) -> None:
    assert unit_nm(unit) == nm


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"resolution": [40, 8, 4]}, (40, 8, 4)),
        ({"voxel_size": [0.04, 0.008, 0.004], "units": ["um"] * 3}, (40, 8, 4)),
        ({"resolution": [40, 8, 4], "units": ["px"] * 3}, None),
        ({"resolution": [40, 0, 4]}, None),
        ({"resolution": [40, 8]}, None),
        ({"resolution": "40"}, None),
        (
            {"transform": {"axes": ["x", "y", "z"], "scale": [4, 8, 40], "units": ["nm"] * 3}},
            (40, 8, 4),
        ),
        ({"transform": {"axes": ["z", "y", "x"], "scale": [1, 2]}}, None),
        ({}, None),
    ],
)
def test_zarr(attributes: dict, expected: tuple | None) -> None:
    assert attribute_voxel_nm(attributes) == (pytest.approx(expected) if expected else None)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"resolution": [4, 8, 40]}, (40, 8, 4)),
        ({"pixelResolution": {"dimensions": [4, 8, 40], "unit": "nm"}}, (40, 8, 4)),
        ({"pixelResolution": {"dimensions": [40, 80, 400], "unit": "angstrom"}}, (40, 8, 4)),
        ({"pixelResolution": {"dimensions": [4, 8, 40], "unit": "pixel"}}, None),
        ({"pixelResolution": [4, 8, 40]}, None),
    ],
)
def test_n5_is_x_y_z(attributes: dict, expected: tuple | None) -> None:
    assert n5_voxel_nm(attributes) == (pytest.approx(expected) if expected else None)


def test_n5_in_the_order_of_its_axes() -> None:
    attributes = {"resolution": [0.04, 0.008, 0.004], "units": ["um"] * 3}
    assert n5_voxel_nm(attributes, ("z", "y", "x")) == pytest.approx((40, 8, 4))


def test_ome_without_a_unit_is_unknown() -> None:
    axes = [{"name": "c"}, *({"name": n, "unit": "nanometer"} for n in "zyx")]
    assert ome_voxel_nm(axes, [1, 40, 8, 4]) == (40, 8, 4)
    assert ome_voxel_nm([*axes[:3], {"name": "x"}], [1, 40, 8, 4]) is None
    assert ome_voxel_nm(axes[:3], [1, 40, 8]) is None


@pytest.mark.parametrize("size", [0.0, -4.0, float("nan")])
def test_sizes_that_cannot_be_are_said(size: float, caplog: pytest.LogCaptureFixture) -> None:
    _say_impossible.cache_clear()
    assert attribute_voxel_nm({"resolution": [40, size, 4]}) is None
    assert n5_voxel_nm({"pixelResolution": {"dimensions": [4, size, 40], "unit": "nm"}}) is None
    assert f"resolution of 40,{size:g},4 (z, y, x) cannot be" in caplog.text
    assert f"pixelResolution of 40,{size:g},4 (z, y, x) cannot be" in caplog.text
