"""The work on one block: picklable, in pieces as at once, and refused where a value cannot be held."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.jobs.convert import passes
from emjax.jobs.convert.passes import Copy, Pool
from emjax.volumes.write.casting import Cast
from emjax.volumes.write.output import NewVolume
from emjax.volumes.write.pooling import pool
from emjax.volumes.write.pyramid import plan_levels
from emjax.volumes.write.zarr import ZarrOutput

SIZE = (9, 31, 40)


def _output(folder: Path, dtype: str, channels: int = 0) -> tuple[ZarrOutput, NewVolume]:
    levels = plan_levels(SIZE, (40, 4, 4), chunk=(4, 4, 4), shard=(8, 8, 8), count=2)
    output = ZarrOutput(f"{folder}/a.zarr")
    new = NewVolume(channels, dtype, "image", (40, 4, 4), (0, 0, 0), levels, "mean", {})
    output.create(new)
    return output, new


def _input(folder: Path, voxels: np.ndarray) -> str:
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = voxels
    return f"{folder}/a.h5:raw"


def test_blocks_of_a_part_are_copied_where_they_belong(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 9, (12, 40, 44)).astype(np.uint8)
    address = _input(tmp_path, voxels)
    output, _ = _output(tmp_path, "uint16")
    work = Copy(address, output, Cast("uint8", "uint16"), (2, 8, 3))
    for block in Grid(Box((2, 8, 3), SIZE), (8, 16, 16)):
        work(block)
        # To another process, and back from one that has opened it.
        work = pickle.loads(pickle.dumps(work))
        assert set(vars(work)) == {field.name for field in dataclasses.fields(work)}
    np.testing.assert_array_equal(output.open().read().result(), voxels[2:11, 8:39, 3:43])


@pytest.mark.parametrize("piece_bytes", [1, 2000, 1 << 24])
@pytest.mark.parametrize("channels", [0, 2])
def test_pieces_are_pooled_as_the_whole(tmp_path, monkeypatch, channels, piece_bytes) -> None:
    monkeypatch.setattr(passes, "_PIECE_BYTES", piece_bytes)
    output, new = _output(tmp_path, "uint8", channels)
    voxels = np.random.default_rng(1).integers(0, 256, new.shape()).astype(np.uint8)
    output.open(0).write(voxels).result()
    work = pickle.loads(pickle.dumps(Pool(output, 1, (1, 2, 2), "mean")))
    for block in Grid(Box((0, 0, 0), new.levels[1].size), (8, 8, 16)):
        work(block)
    np.testing.assert_array_equal(output.open(1).read().result(), pool(voxels, (1, 2, 2), "mean"))


def test_a_label_that_does_not_fit_is_named_with_its_place(tmp_path: Path) -> None:
    voxels = np.zeros(SIZE, np.int64)
    voxels[8, 30, 39] = 300
    output, _ = _output(tmp_path, "uint8")
    work = Copy(_input(tmp_path, voxels), output, Cast("int64", "uint8"), (0, 0, 0))
    grid = Grid(Box((0, 0, 0), SIZE), (8, 32, 40))
    work(grid[0])
    with pytest.raises(InputError, match=r"a.h5:raw\[8:9,0:31,0:40\]: a label is 300, which uint8"):
        work(grid[1])
