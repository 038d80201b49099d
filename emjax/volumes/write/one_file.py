"""What outputs that are one file on a disk have in common: names while they are made, room, and what is never deleted.

A file has three names in its life: `.making` until its header is whole, `.partial` while voxels are written to it, its
own once they all are. A run that is killed finds the partial file, and goes on with it.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emjax.errors import InputError
from emjax.runs.whole_file import rename_synced
from emjax.volumes.address import local_path
from emjax.volumes.write.output import NewVolume


@dataclasses.dataclass(frozen=True)
class OneFile:
    """An output that is one file, with all of its room taken from the start; the part of `Output` that all share.

    A format adds `create`, which calls `make`, `open` and `attributes`; all of them use `current`.

    Attributes:
        path: of the file.
    """

    path: str
    most_levels: int = dataclasses.field(default=1, init=False)
    shared: bool = dataclasses.field(default=False, init=False)
    any_shard: bool = dataclasses.field(default=True, init=False)
    # Not in its `repr`, which is part of what names a conversion: those of earlier versions go on.
    hidden: bool = dataclasses.field(default=True, init=False, repr=False)

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns the type itself."""
        return dtype

    def check(self, new: NewVolume) -> None:
        """Checks that the disk has room, since all of it is taken from the start."""
        needed = math.prod(new.shape()) * np.dtype(new.dtype).itemsize
        folder = self.file.parent
        while not folder.exists():
            folder = folder.parent
        # A run that goes on has its room already.
        if not self.partial.exists() and shutil.disk_usage(folder).free < needed:
            free = shutil.disk_usage(folder).free
            raise InputError(
                f"{self.path} needs {needed / 2**30:.3g} GiB, but {folder} has {free / 2**30:.3g} GiB free; give "
                "another output, or a compressed one (.zarr)"
            )

    def check_free(self, overwrite: bool) -> None:
        """See `Output`."""
        for file in (self.file, self.partial):
            if not os.path.lexists(file):
                continue
            if not overwrite:
                raise InputError(
                    f"{file} exists; give another output, or --config.overwrite=true to replace it"
                )
            self.check_replaceable(file)

    def check_replaceable(self, file: Path) -> None:
        """Checks that a file may be deleted: that it is of this format, and holds nothing else.

        Raises:
            InputError: if not.
        """
        raise NotImplementedError

    def exists(self) -> bool:
        """See `Output`; an unfinished one is under its partial name."""
        return self.file.exists() or self.partial.exists()

    def is_half_made(self) -> bool:
        """Returns False: it has not even its partial name before it is made."""
        return False

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Is never needed: a file that has its name is whole, and needs no mark for that."""
        raise NotImplementedError

    def delete(self) -> None:
        """Deletes the file, whole, partial or just being made."""
        for file in (self.file, self.partial, self.making):
            file.unlink(missing_ok=True)

    def make(self, write: Callable[[Path], None]) -> None:
        """Makes the partial file.

        Args:
            write: writes header and room to a path.

        Raises:
            InputError: if it cannot be written.
        """
        making = self.making
        try:
            making.parent.mkdir(parents=True, exist_ok=True)
            write(making)
            rename_synced(making, self.partial)
        except OSError as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise InputError(f"cannot write {self.path}: {reason}") from error

    def finish(self) -> None:
        """See `Output`."""
        if self.partial.exists():
            rename_synced(self.partial, self.file)

    @property
    def file(self) -> Path:
        """The file under its own name."""
        return local_path(self.path)

    @property
    def partial(self) -> Path:
        """The file while voxels are written."""
        return self.file.with_name(f"{self.file.name}.partial")

    @property
    def making(self) -> Path:
        """The file until its header is whole."""
        return self.file.with_name(f"{self.file.name}.making")

    @property
    def current(self) -> Path:
        """The file under the name that it has now."""
        return self.partial if self.partial.exists() else self.file
