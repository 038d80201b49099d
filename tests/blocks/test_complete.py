"""A volume that emjax makes says whether it has all its blocks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks.complete import incomplete, mark_complete, refuse_incomplete
from emjax.blocks.done import DoneBlocks
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume
from emjax.volumes.write.output import NewVolume
from emjax.volumes.write.precomputed import PrecomputedOutput
from emjax.volumes.write.pyramid import plan_levels
from emjax.volumes.write.zarr import ZarrOutput

SIZE = (8, 16, 16)
GRID = Grid(Box((0, 0, 0), SIZE), (8, 8, 8))


def _make(output, done: DoneBlocks) -> None:
    levels = plan_levels(SIZE, (40, 4, 4), count=1, chunk=(8, 8, 8), shard=(8, 8, 8))
    attributes = {"checkpoint": "a", **incomplete([(done, GRID)])}
    new = NewVolume(0, "uint8", "image", (40, 4, 4), (0, 0, 0), levels, "mean", attributes)
    output.create(new)


@pytest.mark.parametrize("kind", [ZarrOutput, PrecomputedOutput])
def test_an_output_is_refused_until_it_is_marked(tmp_path: Path, kind) -> None:
    output = kind(f"{tmp_path}/out")
    done = DoneBlocks(tmp_path / "run" / "blocks", "a")
    _make(output, done)
    done.begin()
    done.mark(0, 2, 3)
    words = rf"^input .*/out is not complete \(3 of 4 blocks are done\).*{tmp_path}/run/blocks.*allow_incomplete=true"
    with pytest.raises(InputError, match=words) as error:
        refuse_incomplete(output.path, "input")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError) as error:
        refuse_incomplete(f"{output.path}[0:4]?voxel_nm=1,1,1", "input", hint=False)
    assert "allow_incomplete" not in str(error.value)
    assert refuse_incomplete(output.path, "input", allow=True)
    mark_complete(output)
    assert not refuse_incomplete(output.path, "input")
    # All else is as it was, and the mark says nothing of the machine that it was made on.
    assert read_attributes(output.path) == {"checkpoint": "a", "complete": True}
    assert open_volume(output.path).size == SIZE


def test_a_marked_output_is_not_touched_again(tmp_path: Path) -> None:
    output = ZarrOutput(f"{tmp_path}/a.zarr")
    _make(output, DoneBlocks(tmp_path / "blocks", "a"))
    mark_complete(output)
    os.utime(tmp_path / "a.zarr" / "zarr.json", ns=(1, 1))
    mark_complete(output)
    assert os.stat(tmp_path / "a.zarr" / "zarr.json").st_mtime_ns == 1


def test_volumes_without_the_mark_are_complete(tmp_path: Path) -> None:
    create_volume(tmp_path / "old.zarr", SIZE, np.uint8, None, {"identity": "a"})
    np.save(tmp_path / "a.npy", np.zeros(3))
    for path in ("old.zarr", "a.npy", "nothing.h5"):
        assert not refuse_incomplete(f"{tmp_path}/{path}", "input")
    assert not refuse_incomplete("synthetic://neurites?seed=3", "input")
    mark_complete(ZarrOutput(f"{tmp_path}/old.zarr"))
    assert read_attributes(f"{tmp_path}/old.zarr") == {"identity": "a"}


def test_what_was_made_of_an_incomplete_volume_says_so(tmp_path: Path) -> None:
    create_volume(tmp_path / "a.zarr", SIZE, np.uint8, None, incomplete([]))
    with pytest.raises(InputError, match="not complete .it was made of a volume that is not"):
        refuse_incomplete(f"{tmp_path}/a.zarr", "labels")
