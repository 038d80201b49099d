"""Which blocks are done: their numbers, appended to a file once the block's data is on disk.

Each process that works on blocks has a file of its own, and writes nothing behind what another wrote: a process killed
at any instant leaves a block with its number, or one that is done again. (A file for each block was measured with a
million of them: 53 s to make, 6 s to list, 22 s to delete, and as many inodes of a user's quota; numbers in a file are
read in 0.3 s.) The folder belongs to one configuration: blocks of another are not taken for this one's.

"On disk" is what the volume's writer must wait for first. TensorStore's `write(...).result()` does: its files are
written under another name, synced (`file_io_sync`, on unless a context turns it off) and then renamed.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator

import numpy as np
from absl import logging
from etils import epath

from emjax.errors import InputError
from emjax.runs.whole_file import sync, write_whole

_IDENTITY = "identity.json"
_SUFFIX = ".done"


class DoneBlocks:
    """The done blocks of one piece of work.

    Attributes:
        folder: where the files are, local or `gs://`.
        identity: hash of everything that changes what a block holds.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: str) -> None:
        """Reads and writes nothing yet."""
        self.folder = epath.Path(folder)
        self.identity = identity
        self._local = "://" not in os.fspath(folder)
        self._log: io.FileIO | None = None
        self._lock = threading.Lock()

    def begun(self) -> bool:
        """Whether this work was begun here before.

        Raises:
            InputError: if the folder holds blocks of another configuration.
        """
        file = self.folder / _IDENTITY
        if not file.exists():
            return False
        try:
            stored = json.loads(file.read_text())["identity"]
        except (ValueError, KeyError, TypeError):
            stored = None
        if stored != self.identity:
            raise InputError(
                f"{self.folder} holds blocks of another configuration; give another --workdir, or "
                "--config.overwrite=true to begin anew"
            )
        return True

    def begun_by_us(self) -> bool:
        """Whether this very work was begun here; what another left does not count."""
        try:
            return self.begun()
        except InputError:
            logging.info("%s is of another input or settings: beginning anew", self.folder)
            return False

    def begin(self) -> None:
        """Claims the folder for this work; what was done here before is forgotten."""
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / _IDENTITY, json.dumps({"identity": self.identity}).encode())

    def clear(self) -> None:
        """Forgets all blocks, those of another configuration too; the claim goes first."""
        if not self.folder.exists():
            return
        (self.folder / _IDENTITY).unlink(missing_ok=True)
        self.close()
        for file in self._logs():
            file.unlink(missing_ok=True)

    def mark(self, *indices: int) -> None:
        """Says that blocks are done; call it only once their data is on disk. Returns once that is on disk, too.

        Raises:
            OSError: if it cannot be written: then some of the blocks are done again.
        """
        lines = "".join(f"{index}\n" for index in indices).encode()
        with self._lock:
            if not self._local:
                # Objects cannot be appended to, but appear whole or not at all.
                (self.folder / f"{_unique()}{_SUFFIX}").write_bytes(lines)
                return
            try:
                if self._log is None:
                    self._log = self._open_log()
                while lines:
                    lines = lines[self._log.write(lines) :]
                os.fsync(self._log.fileno())
            except OSError:
                # Half a number may be in the file: nothing is to be written behind it.
                self.close()
                raise

    def mask(self, count: int) -> np.ndarray:
        """Returns which blocks are done, of all processes.

        Args:
            count: of blocks.

        Returns:
            `[count]` bool.
        """
        mask = np.zeros(count, bool)
        for index in self._numbers():
            if index < count:
                mask[index] = True
        return mask

    def indices(self) -> set[int]:
        """Returns the numbers of all done blocks, of all processes; `mask` holds many of them in less memory."""
        return set(self._numbers())

    def close(self) -> None:
        """Closes the file of this process; the next mark begins another."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def _numbers(self) -> Iterator[int]:
        for file in self._logs():
            with file.open("rb") as lines:
                for line in lines:
                    # A process that was killed leaves half a line; a loss of power leaves zeros.
                    if line.endswith(b"\n") and line[:-1].isdigit():
                        yield int(line)

    def _logs(self) -> list[epath.Path]:
        if not self.folder.exists():
            return []
        return [file for file in self.folder.iterdir() if file.name.endswith(_SUFFIX)]

    def _open_log(self) -> io.FileIO:
        """Begins a file of this process alone, that survives a loss of power."""
        folder = os.fspath(self.folder)
        log = io.FileIO(os.path.join(folder, f"{_unique()}{_SUFFIX}"), "x")
        sync(folder)
        return log


def _unique() -> str:
    return f"{time.time_ns():x}-{uuid.uuid4().hex[:8]}"
