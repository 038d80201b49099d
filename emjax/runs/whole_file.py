"""Files that are there whole or not at all, whenever a process is killed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO

from etils import epath


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file in one piece, and returns once it survives a loss of power.

    Args:
        path: local, or an address such as `gs://...`; its folder is made.
        data: what the file holds.

    Raises:
        OSError: if the file cannot be written; nothing is left of it.
    """
    with open_whole(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file to be written part by part; it is there once the `with` ends, and survives a loss of power then.

    Args:
        path: local, or an address such as `gs://...`; its folder is made.

    Raises:
        OSError: if the file cannot be written; nothing is left of it.
    """
    text = os.fspath(path)
    if "://" in text:
        # An object appears whole or not at all.
        with epath.Path(text).open("wb") as file:
            yield file
        return
    folder, name = os.path.split(os.path.abspath(text))
    os.makedirs(folder, exist_ok=True)
    # Named by the process: two that write the same file must not write into each other's.
    partial = os.path.join(folder, f".{name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, os.path.join(folder, name))
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
    sync(folder)


def rename_synced(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
    """Gives a local file, written but maybe not yet on disk, another name; returns once both survive a loss of power.

    Args:
        old: name of the file.
        new: name in the same file system; what has it is replaced.

    Raises:
        OSError: if it cannot be renamed.
    """
    sync(old)
    os.replace(old, new)
    sync(os.path.dirname(os.path.abspath(new)))


def sync(path: str | os.PathLike[str]) -> None:
    """Returns once a local file, or the names in a local folder, survive a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
