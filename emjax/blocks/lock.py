"""Locks that let only one run at a time write an output or use a work folder; the system frees them as runs end."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging

from emjax.blocks.file_lock import HELD, NO_LOCKS, forget, try_lock
from emjax.errors import InputError
from emjax.runs.processes import lives
from emjax.volumes.address import local_path

# Tries to take a lock whose file others delete meanwhile, or that they hold for a moment; seconds between the latter.
_TRIES, _PAUSE_S = 20, 0.01


class OutputLock:
    """Locks an output as long as its `with` lasts; a second run is refused with a message that names the first.

    The lock is one on the file `.NAME.lock` beside the output; links are followed, so that an output has one lock
    by all of its names. The system frees it when the process ends, even by SIGKILL, and it holds between machines if
    the file system supports that (NFS 4, Lustre with `flock`). On a file system without locks a run is refused if the
    file names a process of this machine that lives; otherwise it logs a warning and goes on. Outputs at remote
    addresses (`gs://`, `s3://`) are not locked.

    Processes that share an output by parts hold that lock together, and each holds a further lock for its own part.
    """

    # What to do instead, for the messages.
    _instead = "another output"

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
        self.file = self._locate(Path(os.path.realpath(local_path(self._path))))
        self._made: list[Path] = []
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
                self._take(self.file)
            else:
                self._take(self.file, shared=True)
                self._take(self._part)
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the lock."""
        self._give_back()

    def is_held(self) -> bool:
        """Whether a run holds the lock, or a part of it, at this moment."""
        if self._remote or not self.file.exists():
            return False
        try:
            with open(self.file, "r+b") as file:
                try_lock(file.fileno(), shared=False)
                forget(file.fileno())
        except OSError as error:
            return error.errno in HELD
        return False

    @contextlib.contextmanager
    def without_other_parts(self) -> Iterator[None]:
        """Excludes the other parts while the output is made or replaced.

        Raises:
            InputError: if another part is being worked on.
        """
        handle = self._held.get(self.file)
        if handle is not None and not self._alone:
            self._flock(handle)
        yield
        if handle is not None and not self._alone:
            self._flock(handle, shared=True)

    def _locate(self, place: Path) -> Path:
        """Returns the path of the lock file of a real path."""
        return place.with_name(f".{place.name}.lock")

    def _take(self, file: Path, *, shared: bool = False) -> None:
        for again in range(_TRIES):
            try:
                self._make_folder(file.parent)
                handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError as error:
                # A run that was refused may just have removed the empty folder that it had made.
                if isinstance(error, FileNotFoundError) and again < _TRIES - 1:
                    continue
                raise InputError(
                    f"cannot write {self._path} ({error.strerror}: {file.parent}); give {self._instead}"
                ) from error
            self._held[file] = handle
            if not self._flock(handle, shared=shared) or _is_there(handle, file):
                if not shared:
                    self._sign(handle)
                return
            # The previous holder deleted the file after it was opened here: another run may hold the file that
            # replaced it.
            forget(handle)
            os.close(self._held.pop(file))
        raise InputError(
            f"{self._path} cannot be locked: other runs begin and end there all the time; try again"
        )

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder, and remembers which folders were not there before."""
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        self._made += missing

    def _flock(self, handle: int, *, shared: bool = False) -> bool:
        """Takes the lock, and returns whether it is held; False on a file system without locks."""
        try:
            self._try(handle, shared)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            if _is_alive(_read_signature(handle)):
                raise self._refusal(_describe(_read_signature(handle))) from error
            logging.warning(
                "%s cannot be locked (%s): make sure that no other run writes it",
                self._path,
                error.strerror,
            )
            return False
        return True

    def _try(self, handle: int, shared: bool) -> None:
        """Takes the lock, or refuses by InputError; another OSError is one of a file system without locks."""
        for left in reversed(range(_TRIES)):
            try:
                return try_lock(handle, shared=shared)
            except OSError as error:
                if error.errno not in HELD:
                    raise
                holder = self._name_holder(handle)
                # Held by nobody any more: a run that ends, or asks whether one works here, holds it for a moment.
                if holder or not left:
                    raise self._refusal(holder) from error
            time.sleep(_PAUSE_S)

    def _refusal(self, holder: str) -> InputError:
        return InputError(
            f"{self._path} is being written by another run{holder}; wait for it or stop it, or give {self._instead}"
        )

    def _sign(self, handle: int) -> None:
        who = {
            "what": self._what,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "birth": _birth(os.getpid()),
            "since": datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
            "command": " ".join(shlex.join(sys.orig_argv).split())[:300],
        }
        # A full disk is reported when the output is written.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(who).encode())

    def _name_holder(self, handle: int) -> str:
        """Returns who holds a lock, as its file says; '' if it does not say."""
        try:
            try_lock(handle, shared=True)
        except OSError:
            return _describe(_read_signature(handle))
        # The lock is shared by parts, so the file's text is that of a run that was killed; the parts' files say more.
        for file in sorted(self.file.parent.iterdir()):
            if file.name.startswith(f"{self.file.name}.") and file not in self._held:
                with open(file, "r+b") as part:
                    try:
                        try_lock(part.fileno(), shared=True)
                    except OSError:
                        return _describe(_read_signature(part.fileno()))
                    forget(part.fileno())
        return ""

    def _give_back(self) -> None:
        held, self._held = self._held, {}
        for file, handle in held.items():
            # Delete the file only if no other process holds it or is about to.
            with contextlib.suppress(OSError):
                try_lock(handle, shared=False)
                if _is_there(handle, file):
                    file.unlink()
            forget(handle)
            os.close(handle)
        # Of a run that was refused nothing stays, not even an empty folder.
        made, self._made = self._made, []
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


class FolderLock(OutputLock):
    """Locks a work folder, as `OutputLock` an output."""

    _instead = "another --workdir"

    def _locate(self, place: Path) -> Path:
        # The folder may be the only place that can be written: the mount of a container, say.
        if place.is_dir() and not os.access(place.parent, os.W_OK):
            return place / ".lock"
        return super()._locate(place)


def _is_there(handle: int, file: Path) -> bool:
    """Whether an open file is still the one that its name refers to."""
    try:
        named, held = os.stat(file), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _read_signature(handle: int) -> dict[str, Any]:
    """Returns what a holder wrote about itself; empty if that cannot be read."""
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        who = json.loads(os.read(handle, 4096))
    except (OSError, ValueError):
        return {}
    return who if isinstance(who, dict) else {}


def _describe(who: dict[str, Any]) -> str:
    try:
        return (
            f": {who['what']}, process {who['pid']} on {who['host']} since {who['since']}, "
            f"`{who['command']}`"
        )
    except KeyError:
        return ""


def _is_alive(who: dict[str, Any]) -> bool:
    """Whether the holder is another process of this machine that lives; False where that cannot be known."""
    pid = who.get("pid")
    if who.get("host") != socket.gethostname() or not isinstance(pid, int) or pid == os.getpid():
        return False
    if not lives(pid):
        return False
    # The number may have been given to another process since.
    return who.get("birth") == _birth(pid)


def _birth(pid: int) -> str:
    """Returns when a process began, in clock ticks since the machine did; '' where the system does not say."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # Field 22; the name of the program, which may have spaces, ends with the last parenthesis.
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
