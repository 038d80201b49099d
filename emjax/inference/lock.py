"""One run at a time on an output: a lock that the system frees when the run ends, however it ends."""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

from absl import logging

from emjax.errors import InputError

# What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


class OutputLock:
    """Holds an output as long as its `with` lasts; a second run on it is refused, naming the first.

    The lock is `flock` on the file `.NAME.lock` beside the output, so that it is freed when the process ends, by
    SIGKILL too, and holds between machines where the file system has such locks (NFS 4, Lustre with `flock`). Where it
    has none this is said, and the run goes on. Outputs at remote addresses (`gs://`, `s3://`) are not locked.
    """

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        """Locks nothing yet.

        Args:
            path: of the output.
            what: is being done with it, for the message, such as 'segment'.
        """
        self._path, self._what = os.fspath(path), what
        self._remote = "://" in self._path
        place = Path(self._path).expanduser()
        self.file = Path(os.path.realpath(place.parent)) / f".{place.name}.lock"
        self._handle: int | None = None

    def __enter__(self) -> OutputLock:
        """Takes the lock.

        Raises:
            InputError: if another run holds it, or nothing can be written there.
        """
        if self._remote:
            return self
        while True:
            handle = self._open()
            if not self._lock(handle):
                return self
            # Whoever held it may have deleted the file since it was opened: then another run may hold its successor.
            if _is_there(handle, self.file):
                break
            os.close(handle)
        self._handle = handle
        self._sign()
        return self

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self.file.unlink(missing_ok=True)
            os.close(handle)

    def _open(self) -> int:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"cannot write {self._path} ({error.strerror}: {self.file.parent}); give another output"
            ) from error

    def _lock(self, handle: int) -> bool:
        """Returns whether the lock is held now; False where there are no locks."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.pread(handle, 4096, 0)
            os.close(handle)
            if error.errno in _HELD:
                raise InputError(
                    f"{self._path} is being written by another run{_name(text)}; wait for it or stop it, or give "
                    "another output"
                ) from error
            if error.errno not in _NO_LOCKS:
                raise
            logging.warning(
                "%s cannot be locked (%s): make sure that no other run writes it",
                self._path,
                error.strerror,
            )
            return False
        return True

    def _sign(self) -> None:
        assert self._handle is not None
        who = {
            "what": self._what,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
            "command": shlex.join(sys.orig_argv)[:300],
        }
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(who).encode(), 0)


def _is_there(handle: int, file: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        named, held = os.stat(file), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _name(text: bytes) -> str:
    """Says who holds a lock; '' where its file does not."""
    try:
        who: dict[str, Any] = json.loads(text)
        return f": {who['what']}, process {who['pid']} on {who['host']} since {who['since']}, `{who['command']}`"
    except (ValueError, KeyError, TypeError):
        return ""
