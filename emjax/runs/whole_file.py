"""Writes files atomically: a file exists whole or not at all, whenever the process is killed.

Until it is whole, a file is called `.NAME.SYSTEM-PID.partial`. What a killed process left under such a name is deleted
by the next one of the same system that writes to that folder.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import socket
from collections.abc import Iterator
from typing import IO

from etils import epath

from emjax.runs.processes import lives

_PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)\.partial")


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file in one piece, and returns once it survives a loss of power.

    Args:
        path: local path, or an address such as `gs://...`; its folder is made.
        data: the bytes of the file.

    Raises:
        OSError: if the file cannot be written; nothing is left of it.
    """
    with open_whole(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a file to be written part by part; when the `with` ends, it exists and survives a loss of power.

    Args:
        path: local path, or an address such as `gs://...`; its folder is made.

    Raises:
        OSError: if the file cannot be written; nothing is left of it.
    """
    text = os.fspath(path)
    if "://" in text:
        # An object of a remote store appears whole or not at all.
        with epath.Path(text).open("wb") as file:
            yield file
        return
    folder, name = os.path.split(os.path.abspath(text))
    os.makedirs(folder, exist_ok=True)
    _remove_leftovers(folder, os.getpid())
    # The name contains the process id, so that two processes that write the same file do not mix their data.
    partial = os.path.join(folder, f".{name}.{_system()}-{os.getpid()}.partial")
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
    """Renames a local file that may not be on disk yet; returns once its data and name survive a loss of power.

    Args:
        old: path of the file.
        new: path in the same file system; a file of that name is replaced.

    Raises:
        OSError: if the file cannot be renamed.
    """
    sync(old)
    os.replace(old, new)
    sync(os.path.dirname(os.path.abspath(new)))


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a local file, or the names in a local folder, survive a loss of power."""
    if os.name == "nt" and os.path.isdir(path):
        # Windows opens no folders; NTFS keeps a journal of names by itself.
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_partial(name: str) -> bool:
    """Whether a file has the name of one that is, or was when its process was killed, half written."""
    return _PARTIAL.fullmatch(name) is not None


@functools.cache
def _system() -> str:
    """Returns 8 hexadecimal digits for what numbers the processes: a machine, or a container on it."""
    text = socket.gethostname()
    with contextlib.suppress(OSError):
        text += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@functools.lru_cache(maxsize=1024)
def _remove_leftovers(folder: str, pid: int) -> None:
    """Deletes what killed processes of this system left half written in a folder; looks once in a process's life.

    Args:
        folder: absolute path.
        pid: of this process, so that a copy of it looks again.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [(entry.path, _PARTIAL.fullmatch(entry.name)) for entry in entries]
        for path, match in found:
            if match and match[1] == _system() and lives(int(match[2])) is False:
                os.unlink(path)
