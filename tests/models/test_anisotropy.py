"""Poolings follow the voxel size."""

from __future__ import annotations

import pytest

from emjax.models.anisotropy import most_anisotropic, pooling_strides

PLANE, ALL = (1, 2, 2), (2, 2, 2)


@pytest.mark.parametrize(
    ("voxel_nm", "expected"),
    [
        (
            (50, 4, 4),
            (PLANE, PLANE, PLANE, PLANE),
        ),  # 4, 8, 16, 32 in the plane: never above 50 / 1.4
        ((40, 8, 8), (PLANE, PLANE, ALL, ALL)),  # 40 beside 32
        ((30, 6, 6), (PLANE, PLANE, ALL, ALL)),  # 30 beside 24
        ((10, 10, 10), (ALL, ALL, ALL, ALL)),
        ((), (PLANE, PLANE, PLANE, PLANE)),
    ],
)
def test_strides_by_hand(voxel_nm, expected):
    assert pooling_strides(voxel_nm, 4) == expected


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(10, 10, 10), (8, 8, 8)], (10, 10, 10)),
        ([(8, 8, 8), (30, 6, 6), (40, 8, 8)], (30, 6, 6)),  # five times as long as wide, both
        ([(8, 8, 8), (40, 4, 4)], (40, 4, 4)),
        ([(8, 8, 8), ()], ()),
    ],
)
def test_mixtures_pool_as_their_longest_voxels(sizes, expected):
    assert most_anisotropic(sizes) == expected
    # Wherever the mixture pools z, each of its volumes would.
    mixed = pooling_strides(expected, 4)
    for size in sizes:
        each = pooling_strides(size, 4)
        assert all(a[0] <= b[0] for a, b in zip(mixed, each, strict=True))
