"""Shared by outputs that are one file on a disk: temporary names, a check of disk space, and safe deletion.

A file has three names in its life: `.making` until its header is complete, `.partial` while voxels are written to it,
and its own once all voxels are written. A run that was killed finds the partial file and continues it.
"""

from __future__ import annotations

import abc
import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emjax.errors import InputError, reason
from emjax.runs.whole_file import rename_synced
from emjax.volumes.address import local_path
from emjax.volumes.write.output import NewVolume


@dataclasses.dataclass(frozen=True)
class OneFile(abc.ABC):
    """An output that is one file, with all of its disk space allocated from the start; the shared part of `Output`.

    A format adds `open`, `attributes`, and `create`, which calls `make`; all of them use `current`.

    Attributes:
        path: of the file.
    """

    path: str
    most_levels: int = dataclasses.field(default=1, init=False)
    shared: bool = dataclasses.field(default=False, init=False)
    any_shard: bool = dataclasses.field(default=True, init=False)
    # Not part of `repr`, which identifies a conversion: runs that earlier versions began can continue.
    whole_sections: bool = dataclasses.field(default=False, init=False, repr=False)
    hidden: bool = dataclasses.field(default=True, init=False, repr=False)

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """Returns `dtype` unchanged: the format stores every type."""
        return dtype

    def check(self, new: NewVolume) -> None:
        """Checks that the disk has enough space, since all of it is allocated from the start."""
        needed = math.prod(new.shape()) * np.dtype(new.dtype).itemsize
        folder = self.file.parent
        while not folder.exists():
            folder = folder.parent
        # A run that continues has its space already.
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

    @abc.abstractmethod
    def check_replaceable(self, file: Path) -> None:
        """Checks that a file may be deleted: that it is of this format, and holds nothing else than the output.

        Raises:
            InputError: if it may not.
        """

    def exists(self) -> bool:
        """See `Output`; an unfinished output exists under its partial name."""
        return self.file.exists() or self.partial.exists()

    def is_half_made(self) -> bool:
        """Returns False: before the header is complete, the file does not even have its partial name."""
        return False

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Never needed: a file under its own name is complete, and needs no mark for that."""
        raise AssertionError(f"{self.path} is hidden until it is complete, and has no mark")

    def delete(self) -> None:
        """Deletes the file, whether complete, partial or just being made."""
        for file in (self.file, self.partial, self.making):
            file.unlink(missing_ok=True)

    def make(self, write: Callable[[Path], None]) -> None:
        """Makes the partial file.

        Args:
            write: writes the header to a path and allocates the space.

        Raises:
            InputError: if the file cannot be written.
        """
        making = self.making
        try:
            making.parent.mkdir(parents=True, exist_ok=True)
            write(making)
            rename_synced(making, self.partial)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {reason(error)}") from error

    def finish(self) -> None:
        """See `Output`."""
        if self.partial.exists():
            rename_synced(self.partial, self.file)

    @property
    def file(self) -> Path:
        """Real path of the finished file: a link is followed, and stays."""
        return Path(os.path.realpath(local_path(self.path)))

    @property
    def partial(self) -> Path:
        """Path of the file while voxels are written to it."""
        return self.file.with_name(f"{self.file.name}.partial")

    @property
    def making(self) -> Path:
        """Path of the file until its header is complete."""
        return self.file.with_name(f"{self.file.name}.making")

    @property
    def current(self) -> Path:
        """Path of the file under its present name, partial or finished."""
        return self.partial if self.partial.exists() else self.file
