"""Locks on files: those of the system, and those made of ranges of bytes where there are no others (Windows)."""

from __future__ import annotations

import errno
import os
import sys
import types

import pytest

from emjax.blocks import file_lock
from emjax.blocks.file_lock import HELD, forget, try_lock
from emjax.blocks.lock import OutputLock
from emjax.errors import InputError


@pytest.fixture(params=["own", "ranges"])
def system(request, monkeypatch):
    """The locks of this system, and a stand-in for Windows: a byte is locked by one open file at a time."""
    if request.param == "own":
        return
    taken: dict[tuple[int, int], int] = {}

    def locking(handle: int, mode: int, count: int) -> None:
        inode, first = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        places = [(inode, first + i) for i in range(count)]
        if mode == 0:
            assert all(taken.pop(place) == handle for place in places)
        elif any(place in taken for place in places):
            raise OSError(errno.EACCES, "locked")
        else:
            taken.update(dict.fromkeys(places, handle))

    fake = types.SimpleNamespace(LK_UNLCK=0, LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(file_lock, "_fcntl", None)


@pytest.fixture
def handles(tmp_path):
    (tmp_path / "f").touch()
    opened = [os.open(tmp_path / "f", os.O_RDWR) for _ in range(3)]
    yield opened
    for handle in opened:
        forget(handle)
        os.close(handle)


def _is_refused(handle: int, shared: bool) -> bool:
    try:
        try_lock(handle, shared=shared)
    except OSError as error:
        assert error.errno in HELD
        return True
    return False


def test_many_share_or_one_is_alone(system, handles):
    a, b, c = handles
    assert not _is_refused(a, True) and not _is_refused(b, True)
    assert _is_refused(c, False)
    # Who shares it cannot have it alone either, and shares it still after asking.
    assert _is_refused(a, False) and _is_refused(c, False)
    forget(b)
    os.close(b)
    handles[1] = os.dup(c)
    assert not _is_refused(a, False)
    assert _is_refused(c, True) and not _is_refused(a, True) and not _is_refused(c, True)


def test_locks_of_outputs(system, tmp_path):
    one, other = (OutputLock(tmp_path / "a.zarr", "segment") for _ in range(2))
    parts = [OutputLock(tmp_path / "b.zarr", "predict", (i, 2)) for i in range(2)]
    with one, parts[0], parts[1]:
        assert one.is_held() and parts[0].is_held()
        with pytest.raises(InputError, match=f"another run: segment, process {os.getpid()} on"):
            other.__enter__()
    assert not one.is_held()
    with other:
        pass
    assert [path.name for path in tmp_path.iterdir() if "lock" in path.name] == []
