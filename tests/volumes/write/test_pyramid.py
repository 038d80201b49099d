"""Which axes are halved, where levels end, and what is written together."""

from __future__ import annotations

import math

import pytest

from emjax.errors import InputError
from emjax.volumes.write.pyramid import plan_levels, pooling_factor


@pytest.mark.parametrize(
    ("voxel_nm", "factor"),
    [
        ((50, 4, 4), (1, 2, 2)),
        ((50, 32, 32), (1, 2, 2)),
        # 50 nm are not longer than 64: from here on all axes, voxels stay as isotropic as they are.
        ((50, 64, 64), (2, 2, 2)),
        ((8, 8, 8), (2, 2, 2)),
        ((4, 8, 8), (2, 1, 1)),
    ],
)
def test_axes_with_longer_voxels_wait(voxel_nm, factor) -> None:
    assert pooling_factor((100, 100, 100), voxel_nm) == factor


def test_an_axis_of_one_voxel_is_neither_halved_nor_compared() -> None:
    assert pooling_factor((1, 9, 9), (4, 8, 8)) == (1, 2, 2)
    assert pooling_factor((1, 1, 1), (4, 8, 8)) == (1, 1, 1)


def test_levels_of_serial_sections() -> None:
    levels = plan_levels((125, 1250, 1251), (40, 4, 4))
    assert [level.factor for level in levels] == [
        *((1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8), (2, 16, 16), (4, 32, 32))
    ]
    assert [level.size for level in levels][-2:] == [(63, 79, 79), (32, 40, 40)]
    # Chunks follow the voxels of each level.
    assert levels[0].chunk == (16, 128, 128) and levels[3].chunk == (64, 64, 64)
    for level in levels:
        assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))


def test_levels_end_when_one_is_a_chunk() -> None:
    levels = plan_levels((200, 200, 200), None)
    assert [level.size for level in levels] == [(200,) * 3, (100,) * 3, (50,) * 3]
    assert len(plan_levels((60, 60, 60), None)) == 1
    # Long and thin, but no more voxels than a chunk.
    assert plan_levels((5, 100, 3000), None)[-1].size == (3, 50, 1500)


def test_as_many_levels_as_told() -> None:
    assert [level.size for level in plan_levels((200, 8, 8), None, count=2)] == [
        (200, 8, 8),
        (100, 4, 4),
    ]
    with pytest.raises(InputError, match="levels=9: .* at most 3"):
        plan_levels((4, 4, 4), None, count=9)


def test_shards_are_bounded_in_bytes() -> None:
    wide = plan_levels((1000, 1000, 1000), None, voxel_bytes=12)[0]
    assert wide.shard == (128, 128, 128)
    assert plan_levels((1000,) * 3, None, voxel_bytes=8)[0].shard == (256, 256, 256)
    assert math.prod(wide.shard) * 12 <= 1 << 27


def test_chunks_and_shards_as_told() -> None:
    levels = plan_levels((100, 100, 100), None, chunk=(16, 32, 32), shard=(32, 64, 64), count=3)
    assert levels[0].chunk == (16, 32, 32) and levels[0].shard == (32, 64, 64)
    # Coarse levels are smaller than that.
    assert levels[2].chunk == (16, 25, 25) and levels[2].shard == (32, 25, 25)
    with pytest.raises(InputError, match="no multiple of chunks"):
        plan_levels((100, 100, 100), None, chunk=(16, 16, 16), shard=(24, 32, 32))
