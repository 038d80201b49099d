"""What happens to an output, whatever was there before."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks import output
from emjax.blocks.block_size import default_block_size, fit_chunk, whole_chunks
from emjax.blocks.done import DoneBlocks
from emjax.blocks.output import (
    CONTINUE,
    CREATE,
    REPLACE,
    await_output,
    open_output,
    plan_output,
    work_identity,
)
from emjax.errors import InputError
from emjax.volumes.create import create_volume, volume_exists
from emjax.volumes.write.zarr import ZarrOutput


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.zarr"


def _done(path: Path, identity: str = "a") -> DoneBlocks:
    return DoneBlocks(path.parent / "blocks", identity)


def _plan(path: Path, done: DoneBlocks, overwrite: bool = False, finished: bool = False) -> str:
    return plan_output(path, done, overwrite=overwrite, finished=finished)


def _open(path: Path, done: DoneBlocks, plan: str):
    attributes = {output.IDENTITY: done.identity}
    return open_output(
        path, done, plan, lambda: create_volume(path, (4, 4, 4), "uint8", None, attributes)
    )


def _begun(path: Path) -> DoneBlocks:
    done = _done(path)
    _open(path, done, _plan(path, done)).write(7).result()
    done.mark(0)
    return done


def test_the_same_work_goes_on(path: Path) -> None:
    done = _done(path)
    assert _plan(path, done) == CREATE
    _begun(path)
    for overwrite in (False, True):
        assert _plan(path, done, overwrite) == CONTINUE
    assert np.all(_open(path, done, CONTINUE).read().result() == 7)
    assert done.indices() == {0}


def test_finished_work_is_done_again_only_when_told(path: Path) -> None:
    done = _begun(path)
    assert _plan(path, done, finished=True) == CONTINUE
    plan = _plan(path, done, overwrite=True, finished=True)
    assert plan == REPLACE
    assert not np.any(_open(path, done, plan).read().result())
    assert done.indices() == set()


def test_other_work_is_refused_unless_told(path: Path) -> None:
    _begun(path)
    other = _done(path, "b")
    with pytest.raises(InputError, match="another configuration"):
        _plan(path, other)
    assert _plan(path, other, overwrite=True) == REPLACE
    with pytest.raises(InputError, match=r"another configuration \(box: a -> b\).*and output"):
        plan_output(path, other, overwrite=False, finished=False, changes="box: a -> b")
    elsewhere = DoneBlocks(path.parent / "elsewhere", "b")
    with pytest.raises(InputError, match="exists.*overwrite=true"):
        _plan(path, elsewhere)


def test_an_output_that_other_work_replaced_is_not_taken_for_ours(path: Path) -> None:
    done = _begun(path)
    create_volume(path, (4, 4, 4), "uint8", None, {output.IDENTITY: "b"}, overwrite=True)
    with pytest.raises(InputError, match="exists"):
        _plan(path, done)


def test_an_output_that_was_deleted_is_made_anew(path: Path) -> None:
    done = _begun(path)
    for file in sorted(path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    plan = _plan(path, done)
    assert plan == CREATE
    _open(path, done, plan)
    assert volume_exists(path) and done.indices() == set()


def test_killed_while_the_output_was_made(path: Path) -> None:
    done = _begun(path)
    (path / "zarr.json").unlink()
    plan = _plan(path, done)
    assert not np.any(_open(path, done, plan).read().result())
    assert _plan(path, done) == CONTINUE


def test_killed_before_the_finished_one_was_deleted(path: Path, monkeypatch) -> None:
    done = _begun(path)
    ZarrOutput.of(path).set_attributes({output.IDENTITY: "a", "complete": True})
    assert _plan(path, done, finished=True) == CONTINUE
    # Claimed anew, and no more: half of it would be old, and nobody would know.
    done.begin()
    assert _plan(path, done) == REPLACE
    monkeypatch.setattr(output, "_PATIENCE", 0.0)
    with pytest.raises(InputError, match="part 0"):
        await_output(path, done)


def test_what_is_no_volume_is_refused(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="no zarr volume"):
        _plan(path, _done(path), overwrite=True)


def test_other_processes_wait_for_the_first(path: Path, monkeypatch) -> None:
    done = _done(path)
    timer = threading.Timer(0.2, _begun, [path])
    timer.start()
    assert np.all(await_output(path, done).shape == (4, 4, 4))
    timer.join()
    monkeypatch.setattr(output, "_PATIENCE", 0.0)
    with pytest.raises(InputError, match="part 0"):
        await_output(path, _done(path, "b"))


def test_other_processes_wait_for_the_one_that_is_meant(path: Path) -> None:
    """As a part of a prediction, whose first process is about to replace what is there."""
    done, answers = _begun(path), iter([False, True])
    assert np.all(await_output(path, done, lambda: next(answers)).read().result() == 7)
    assert next(answers, None) is None


def test_an_identity_is_of_all_values_in_any_order() -> None:
    assert work_identity({"a": 1, "b": [2]}) == work_identity({"b": [2], "a": 1})
    assert work_identity({"a": 1, "b": [2]}) != work_identity({"a": 1, "b": [3]})


def test_blocks_by_hand() -> None:
    # A small volume is one block.
    assert default_block_size((20, 100, 100), (16, 64, 64), (4, 64, 64), 3) == (32, 128, 128)
    # 128 tiles of 4 x 64 x 64 are 2 M voxels.
    block = default_block_size((10_000,) * 3, (16, 128, 128), (4, 64, 64), 3)
    assert block == (32, 256, 256)
    # Many channels: memory ends it earlier.
    few = default_block_size((10_000,) * 3, (64, 64, 64), (64, 64, 64), 1)
    many = default_block_size((10_000,) * 3, (64, 64, 64), (64, 64, 64), 60)
    assert np.prod(many) < np.prod(few)
    assert all(side % 64 == 0 for side in (*few, *many))


def test_chunks_of_blocks_that_were_given() -> None:
    assert fit_chunk((16, 128, 128), (8, 256, 128)) == (8, 128, 128)
    with pytest.raises(InputError, match="use 8,256,128"):
        fit_chunk((16, 128, 128), (8, 200, 128))


def test_blocks_of_whole_chunks():
    assert whole_chunks((512, 512, 512), (64, 64, 64), 2**24) == (256, 256, 256)
    assert whole_chunks((512, 4096, 4096), (16, 256, 256), 2**24) == (64, 512, 512)
    # Short axes are whole, and what is left goes to the others.
    assert whole_chunks((20, 4096, 4096), (16, 256, 256), 2**24) == (20, 1024, 512)
    assert whole_chunks((5, 6, 7), (64, 64, 64), 2**24) == (5, 6, 7)
    # A chunk is never cut.
    assert whole_chunks((512, 512, 512), (512, 512, 512), 2**10) == (512, 512, 512)
