"""A lock that lets only one run at a time write an output; the system frees it when the run ends, however it ends."""

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

# Errors of a file system that has no locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK)
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


class OutputLock:
    """Locks an output as long as its `with` lasts; a second run is refused with a message that names the first.

    The lock is `flock` on the file `.NAME.lock` beside the output. The system frees it when the process ends, even by
    SIGKILL, and it holds between machines if the file system supports that (NFS 4, Lustre with `flock`). On a file
    system without locks the run logs a warning and goes on. Outputs at remote addresses (`gs://`, `s3://`) are not
    locked.

    Processes that share an output by parts hold that lock together, and each holds a further lock for its own part.
    """

    def __init__(
        self, path: str | os.PathLike[str], what: str, part: tuple[int, int] = (0, 1)
    ) -> None:
        """Locks nothing yet.

        Args:
            path: path of the output.
            what: the kind of run, such as 'segment', for the message.
            part: number of this process's part of the work, and number of parts.
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
            InputError: if another run holds the lock, or the lock file cannot be written.
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
        """Frees the lock."""
        self._give_back()

    @contextlib.contextmanager
    def without_other_parts(self) -> Iterator[None]:
        """Excludes the other parts while the output is made or replaced.

        Raises:
            InputError: if another part is being worked on.
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
            # The previous holder deleted the file after it was opened here: another run may hold the file that
            # replaced it.
            os.close(self._held.pop(file))
        if kind == fcntl.LOCK_EX:
            self._sign(handle)

    def _flock(self, handle: int, kind: int) -> bool:
        """Takes the lock, and returns whether it is held; False on a file system without locks."""
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
        # A full disk is reported when the output is written.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(who).encode(), 0)

    def _name_holder(self, handle: int) -> str:
        """Returns who holds a lock, as its file says; '' if it does not say."""
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read_signature(handle)
        # The lock is shared by parts, so the file's text is that of a run that was killed; the parts' files say more.
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
            # Delete the file only if no other process holds it or is about to.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_there(handle, file):
                    file.unlink()
            os.close(handle)


def _is_there(handle: int, file: Path) -> bool:
    """Whether an open file is still the one that its name refers to."""
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
