"""Which blocks are done: one small file for each, written after the block's data is on disk.

A process killed at any instant leaves a block with its file, or one that is done again. The folder belongs to one
configuration: blocks of another are not taken for this one's.
"""

from __future__ import annotations

import json
import os

from etils import epath

from emjax.errors import InputError

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

    def begin(self) -> None:
        """Claims the folder for this work; what was done here before is forgotten."""
        self.clear()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(_IDENTITY, {"identity": self.identity})

    def clear(self) -> None:
        """Forgets all blocks, those of another configuration too; the claim goes first."""
        if not self.folder.exists():
            return
        (self.folder / _IDENTITY).unlink(missing_ok=True)
        for file in self.folder.iterdir():
            if file.name.endswith(_SUFFIX):
                file.unlink(missing_ok=True)

    def mark(self, index: int) -> None:
        """Says that a block is done; call it only once its data is on disk."""
        self._write(f"{index}{_SUFFIX}", {})

    def indices(self) -> set[int]:
        """Returns the numbers of all done blocks, of all processes."""
        if not self.folder.exists():
            return set()
        names = (file.name for file in self.folder.iterdir())
        stems = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return {int(stem) for stem in stems if stem.isdigit()}

    def _write(self, name: str, value: dict[str, str]) -> None:
        """Writes a file in one piece, and returns once it survives a loss of power."""
        text = json.dumps(value)
        if not self._local:
            # An object appears whole or not at all.
            (self.folder / name).write_text(text)
            return
        partial = os.path.join(os.fspath(self.folder), f".{name}.partial")
        with open(partial, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, os.path.join(os.fspath(self.folder), name))
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
