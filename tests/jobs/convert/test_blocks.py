"""Blocks are whole shards, wide where an input decodes whole sections, and few decode the same one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.jobs.convert.blocks import fit_sections, make_grids, say_decoded
from emjax.volumes.address import Address
from emjax.volumes.volume import Volume
from emjax.volumes.write.pyramid import plan_levels


def _volume(size: tuple[int, int, int], read: tuple[int, int, int], slow: bool) -> Volume:
    """A volume that nobody reads."""
    store = ts.virtual_chunked(
        lambda *_: None,
        dtype=ts.uint8,
        domain=ts.IndexDomain(shape=size),
        chunk_layout=ts.ChunkLayout(read_chunk_shape=read),
    )
    return Volume(store, (8, 8, 8), Address("a.tif"), Box((0, 0, 0), size), slow)


def _grids(volume: Volume, block_size=()):
    levels = fit_sections(plan_levels(volume.size, volume.voxel_nm), volume)
    return levels, make_grids(block_size, volume, Box((0, 0, 0), volume.size), levels, 1)


def test_a_block_is_a_shard_of_each_level() -> None:
    levels, grids = _grids(_volume((300, 1000, 1000), (64, 64, 64), slow=False))
    assert grids[0].core_size == levels[0].shard == (256, 256, 256)
    for level, grid in zip(levels, grids, strict=True):
        assert grid.outer.size == level.size
        whole = np.array(grid.core_size) == level.size
        assert (whole | (np.array(grid.core_size) % level.shard == 0)).all()


def test_blocks_of_sections_are_shallow_and_wide(caplog) -> None:
    volume = _volume((300, 4000, 4000), (1, 4000, 4000), slow=True)
    levels, grids = _grids(volume)
    assert levels[0].shard == (64, 256, 256) and levels[1].shard == (192, 256, 256)
    # As wide as 256 MiB are.
    assert grids[0].core_size == (64, 1024, 4000)
    say_decoded(volume, grids[0])
    assert "about 4 times; with --config.block_size=64,4096,4000 once, in 2.9 GiB" in caplog.text


def test_sections_that_are_kept_or_fit_are_not_mentioned(caplog) -> None:
    for size in ((300, 500, 500), (20, 4000, 3000)):
        volume = _volume(size, (1, *size[1:]), slow=True)
        say_decoded(volume, _grids(volume)[1][0])
    assert caplog.text == ""


def test_small_chunks_that_are_slow_are_no_sections() -> None:
    levels, grids = _grids(_volume((300, 1000, 1000), (16, 64, 64), slow=True))
    assert levels[0].shard == grids[0].core_size == (256, 256, 256)


def test_as_many_shards_on_every_level_as_told() -> None:
    volume = _volume((2000, 2000, 2000), (64, 64, 64), slow=False)
    levels, grids = _grids(volume, (256, 512, 256))
    assert [grid.core_size for grid in grids[:2]] == [(256, 512, 256)] * 2
    with pytest.raises(InputError, match="no multiple of the output's shards"):
        _grids(volume, (256, 300, 256))
