"""Poolings follow the voxel size."""

from __future__ import annotations

import pytest

from emjax.models.anisotropy import pooling_strides

PLANE, ALL = (1, 2, 2), (2, 2, 2)


@pytest.mark.parametrize(
    ("voxel_nm", "depth", "expected"),
    [
        (
            (50, 4, 4),
            16,
            (PLANE, PLANE, PLANE, PLANE),
        ),  # 4, 8, 16, 32 in the plane: never above 50 / 1.4
        ((40, 8, 8), 16, (PLANE, PLANE, ALL, ALL)),  # 40 beside 32
        ((30, 6, 6), 16, (PLANE, PLANE, ALL, ALL)),  # 30 beside 24
        ((10, 10, 10), 16, (ALL, ALL, ALL, ALL)),
        ((10, 10, 10), 12, (ALL, ALL, PLANE, PLANE)),  # 12, 6, 3: no further
        ((), 16, (PLANE, PLANE, PLANE, PLANE)),
    ],
)
def test_strides_by_hand(voxel_nm, depth, expected):
    assert pooling_strides(voxel_nm, (depth, 64, 64), 4) == expected
