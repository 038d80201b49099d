"""A work declares what it reads, computes and writes; the engine does the rest, the same in every process."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks import opening
from emjax.blocks.opening import once, open_once, release
from emjax.blocks.parts import part_path, read_part
from emjax.blocks.work import BlockWork, Parts, Voxels
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume
from emjax.volumes.write.zarr import ZarrOutput

SHAPE = (4, 6, 8)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


@dataclasses.dataclass(frozen=True)
class Blur(BlockWork):
    """The sum of a voxel and the one before it along x, of a part that begins at voxel (0, 2, 0)."""

    input: str
    output: str

    @property
    def sink(self) -> Voxels:
        return Voxels(ZarrOutput(self.output), (0, 2, 0))

    def reads(self, block) -> Sequence[tuple[str, Box]]:
        return ((self.input, block.read),)

    def compute(self, block, voxels):
        inner = block.core.translate(tuple(-s for s in block.read.start))
        before = np.pad(voxels, [(0, 0), (0, 0), (1, 0)])[:, :, :-1]
        return (voxels + before)[inner.slices]


@dataclasses.dataclass(frozen=True)
class Largest(BlockWork):
    """The largest voxel of a block; reads by itself."""

    input: str
    folder: str

    @property
    def sink(self) -> Parts:
        return Parts(self.folder)

    def compute(self, block):
        return {"largest": open_once(self.input, self.run).read(block.core).max()}


@pytest.fixture
def volume(tmp_path: Path) -> str:
    path = f"{tmp_path}/in.zarr"
    create_volume(path, SHAPE, np.uint16, None, {}).write(VOXELS).result()
    return path


def test_what_is_declared_is_read_with_its_context_and_written_where_it_belongs(
    volume: str, tmp_path: Path
) -> None:
    output = f"{tmp_path}/out.zarr"
    create_volume(output, (4, 4, 8), np.uint16, None, {}, chunk=(2, 2, 4), shard=(2, 2, 4))
    work = Blur(volume, output)
    for block in Grid(Box((0, 2, 0), (4, 4, 8)), (2, 2, 4), (0, 0, 1)):
        work(block)
        # To another process and back.
        work = pickle.loads(pickle.dumps(work))
    before = np.pad(VOXELS, [(0, 0), (0, 0), (1, 0)])[:, :, :-1]
    np.testing.assert_array_equal(
        open_volume(output).store.read().result(), (VOXELS + before)[:, 2:]
    )


def test_a_work_may_read_by_itself_and_leave_a_part(volume: str, tmp_path: Path) -> None:
    work = Largest(volume, f"{tmp_path}/parts")
    for block in Grid(Box((0, 0, 0), SHAPE), SHAPE):
        work(block)
    assert read_part(part_path(f"{tmp_path}/parts", 0))["largest"] == VOXELS.max()


def test_a_run_opens_once_and_never_what_an_earlier_run_opened(volume: str, monkeypatch) -> None:
    opened = []
    monkeypatch.setattr(
        opening, "open_for_blocks", lambda address: opened.append(address) or open_volume(address)
    )
    first, second = Largest(volume, ""), Largest(volume, "")
    assert first.run != second.run
    for work in (first, first, second):
        open_once(work.input, work.run)
    assert len(opened) == 2
    release()
    open_once(first.input, first.run)
    assert len(opened) == 3
    release()


def test_what_is_kept_is_forgotten_together() -> None:
    made = []

    @once(2)
    def make(value: int, run: str) -> int:
        made.append(value)
        return value

    assert [make(1, "a"), make(1, "a"), make(1, "b")] == [1, 1, 1] and made == [1, 1]
    release()
    make(1, "a")
    assert made == [1, 1, 1]
