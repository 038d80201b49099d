"""One run at a time on an output: a lock that the system frees when the run ends, however it ends."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from emjax.errors import InputError
from emjax.volumes.address import local_path

# What a file system answers that has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


class OutputLock:
    """Holds an output as long as its `with` lasts; a second run on it is refused, naming the first.

    The lock is `flock` on the file `.NAME.lock` beside the output, so that it is freed when the process ends, by
    SIGKILL too, and holds between machines where the file system has such locks (NFS 4, Lustre with `flock`). Where it
    has none this is said, and the run goes on. Outputs at remote addresses (`gs://`, `s3://`) are not locked.

    Processes that share an output by parts share that file, and each holds one of its own for its part.
    """

    def __init__(
        self, path: str | os.PathLike[str], what: str, part: tuple[int, int] = (0, 1)
    ) -> None:
        """Locks nothing yet.

        Args:
            path: of the output.
            what: is being done with it, for the message, such as 'segment'.
            part: number of this process's part of the work, and of parts.
        """
        self._path, self._what = os.fspath(path), what
        self._remote = "://" in self._path
        place = local_path(self._path)
        self.file = Path(os.path.realpath(place.parent)) / f".{place.name}.lock"
        number, parts = part
        self._part = self.file.with_name(f"{self.file.name}.{number}of{parts}")
        self._alone = parts == 1
        self._held: dict[Path, int] = {}

    def __enter__(self) -> OutputLock:
        """Takes the lock.

        Raises:
            InputError: if another run holds it, or nothing can be written there.
        """
        if self._remote:
            return self
        try:
            if self._alone:
                self._take(self.file, fcntl.LOCK_EX)
            else:
                self._take(self.file, fcntl.LOCK_SH)
                self._take(self._part, fcntl.LOCK_EX)
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        self._give_back()

    @contextlib.contextmanager
    def without_other_parts(self) -> Iterator[None]:
        """Refuses, while it lasts, what other parts work on: for making or replacing the output.

        Raises:
            InputError: if a part is being worked on.
        """
        handle = self._held.get(self.file)
        if handle is not None and not self._alone:
            self._flock(handle, fcntl.LOCK_EX)
        yield
        if handle is not None and not self._alone:
            self._flock(handle, fcntl.LOCK_SH)

    def _take(self, file: Path, kind: int) -> None:
        while True:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                raise InputError(
                    f"cannot write {self._path} ({error.strerror}: {file.parent}); give another output"
                ) from error
            self._held[file] = handle
            if not self._flock(handle, kind) or _is_there(handle, file):
                break
            # Whoever held it has deleted the file since it was opened: another run may hold its successor.
            os.close(self._held.pop(file))
        if kind == fcntl.LOCK_EX:
            self._sign(handle)

    def _flock(self, handle: int, kind: int) -> bool:
        """Returns whether the lock is held now; False where there are no locks."""
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _HELD:
                raise InputError(
                    f"{self._path} is being written by another run{self._name_holder(handle)}; wait for it or stop it, "
                    "or give another output"
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

    def _sign(self, handle: int) -> None:
        who = {
            "what": self._what,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
            "command": " ".join(shlex.join(sys.orig_argv).split())[:300],
        }
        # A disk without room for a line is told when the output is written.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(who).encode(), 0)

    def _name_holder(self, handle: int) -> str:
        """Says who holds a lock; '' where its file does not."""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read_signature(handle)
        # It is held for parts; what is written in it is of a run that was killed.
        for file in sorted(self.file.parent.iterdir()):
            if file.name.startswith(f"{self.file.name}.") and file not in self._held:
                with open(file, "rb") as part:
                    try:
                        fcntl.flock(part, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    except OSError:
                        return _read_signature(part.fileno())
        return ""

    def _give_back(self) -> None:
        held, self._held = self._held, {}
        for file, handle in held.items():
            # Deleted only where nobody else holds or can come to hold this very file.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_there(handle, file):
                    file.unlink()
            os.close(handle)


def _is_there(handle: int, file: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        named, held = os.stat(file), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _read_signature(handle: int) -> str:
    try:
        who: dict[str, Any] = json.loads(os.pread(handle, 4096, 0))
        return (
            f": {who['what']}, process {who['pid']} on {who['host']} since {who['since']}, "
            f"`{who['command']}`"
        )
    except (ValueError, KeyError, TypeError):
        return ""
