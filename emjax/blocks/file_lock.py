"""Locks on open files, by what the system has: `flock` on Linux and macOS, ranges of bytes on Windows.

A lock is held by one process alone, or shared by several. The system frees it when the process ends.
"""

from __future__ import annotations

import errno
import importlib
import os
import random
from typing import Any

# Errors of a file that another process has locked, and of a file system that has no locks.
HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN, errno.EDEADLK)
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)

try:
    _fcntl: Any = importlib.import_module("fcntl")
except ImportError:
    _fcntl = None

# On Windows: first byte of the range, far behind what is ever written, and its length. Who shares the lock holds one of
# the bytes, who is alone all of them.
_FIRST, _BYTES = 1 << 30, 64
# Open file -> first byte and number of the bytes of the range that this process holds.
_ranges: dict[int, tuple[int, int]] = {}


def try_lock(handle: int, *, shared: bool) -> None:
    """Takes a lock on an open file, or changes the one that is held, without waiting.

    Args:
        handle: number of the open file.
        shared: whether others may share the lock.

    Raises:
        OSError: with a number of `HELD` if another process holds it; of `NO_LOCKS` if the file system has no locks.
    """
    if _fcntl is not None:
        kind = _fcntl.LOCK_SH if shared else _fcntl.LOCK_EX
        _fcntl.flock(handle, kind | _fcntl.LOCK_NB)
        return
    before = _ranges.get(handle)
    if before is not None:
        _free(handle)
    try:
        _take(handle, shared)
    except OSError:
        if before is not None:
            _take(handle, before[1] == 1)
        raise


def forget(handle: int) -> None:
    """Frees the lock of a file that is about to be closed."""
    if _fcntl is None and handle in _ranges:
        _free(handle)


def _take(handle: int, shared: bool) -> None:
    places = [(_FIRST, _BYTES)]
    if shared:
        places = [(_FIRST + i, 1) for i in random.sample(range(_BYTES), _BYTES)]
    for number, (first, count) in enumerate(places, 1):
        try:
            _lock_bytes(handle, first, count, unlock=False)
        except OSError:
            if number == len(places):
                raise
            continue
        _ranges[handle] = (first, count)
        return


def _free(handle: int) -> None:
    first, count = _ranges.pop(handle)
    _lock_bytes(handle, first, count, unlock=True)


def _lock_bytes(handle: int, first: int, count: int, *, unlock: bool) -> None:
    """Locks or frees a range of bytes on Windows."""
    msvcrt: Any = importlib.import_module("msvcrt")
    before = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, first, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_UNLCK if unlock else msvcrt.LK_NBLCK, count)
    finally:
        os.lseek(handle, before, os.SEEK_SET)
