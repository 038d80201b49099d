"""The contract of a format: what a file of it is recognised by, what opens it, and what writes it.

A format is one file with a `Format` in it and one line in `emjax.volumes.formats`; that of another package is an entry
point of the group `emjax.formats`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.address import Address, local_path
from emjax.volumes.attributes import folder_url
from emjax.volumes.place import Place
from emjax.volumes.read.folder_metadata import METADATA_FILES, read_metadata
from emjax.volumes.read.missing import missing_key, refuse_key
from emjax.volumes.read.opened import Opened

_REMOTE = ("gs://", "s3://", "http://", "https://")


@dataclasses.dataclass(frozen=True)
class Request:
    """What an address asks for, and what stands there.

    Attributes:
        address: of the volume.
        context: with the cache of decoded chunks to use; None where nothing is read but metadata.
    """

    address: Address
    context: ts.Context | None = None

    @property
    def remote(self) -> bool:
        """Whether the volume lies on a server or in a bucket."""
        return self.address.path.startswith(_REMOTE)

    @functools.cached_property
    def path(self) -> Path:
        """Absolute path on this machine: readers open files later, maybe in a process with another working folder."""
        return local_path(self.address.path).absolute()

    @functools.cached_property
    def is_folder(self) -> bool:
        """Whether a folder of this machine stands there."""
        return not self.remote and self.path.is_dir()

    @functools.cached_property
    def is_pattern(self) -> bool:
        """Whether the path is a pattern such as `folder/*.png`, and no file of just that name."""
        path = self.address.path
        return not self.remote and ("*" in path or "?" in path) and not self.path.exists()

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Names of what a folder of this machine holds; empty for anything else."""
        return frozenset(os.listdir(self.path)) if self.is_folder else frozenset()

    @property
    def url(self) -> str:
        """What TensorStore calls the folder of the path, with a slash at its end."""
        return folder_url(self.address.path)

    @property
    def base(self) -> str:
        """What TensorStore calls the folder that is addressed, the dataset included, with a slash at its end."""
        return self.url + (f"{self.address.dataset}/" if self.address.dataset else "")

    @functools.cached_property
    def metadata(self) -> dict[str, dict[str, Any] | None]:
        """Content of the `METADATA_FILES` of the folder that is addressed; None for those that are not there."""
        if not (self.remote or self.is_folder):
            return dict.fromkeys(METADATA_FILES)
        return read_metadata(self.base, self.context)

    @property
    def level(self) -> int:
        """Level of a pyramid that is asked for; 0 is full resolution."""
        return self.address.whole_number("level", "0 for full resolution")

    @property
    def missing(self) -> str:
        """What the address says of absent parts: 'error', 'fill', or '' where it leaves that to the format."""
        return missing_key(self.address, "")


@dataclasses.dataclass(frozen=True)
class Writer:
    """How a format is written.

    Attributes:
        make: 'module:attribute' of a function that makes the `emjax.volumes.write.output.Output` of a path, and of a
            dataset where there are some. A name, so that reading a format does not import what writes it.
        suffixes: of the names of outputs, in small letters with their dot.
        given: what a user writes, for messages and docs: 'NAME.zarr (OME-Zarr)'.
        remote: whether it can be written to a bucket.
        datasets: whether an output may be a dataset inside of a file.
    """

    make: str
    suffixes: tuple[str, ...]
    given: str
    remote: bool = True
    datasets: bool = False


@dataclasses.dataclass(frozen=True)
class Format:
    """A format of volumes.

    Attributes:
        title: what it is, for docs.
        given: how a user names a volume of it, for messages: '.h5'.
        examples: addresses, for docs.
        reads: what is read for a crop, for docs.
        voxel_nm: where the size of a voxel is read from, for docs.
        place: where it is read from where the volume lies, for docs; '' where files do not say.
        open: opens what is asked for. It raises InputError for all that is wrong with it.
        where: reads where a file lies, without opening its voxels; None where files do not say. Raises InputError for
            damaged metadata.
        suffixes: of files, in small letters with their dot.
        marks: names of files that only a folder of this format holds.
        claims: whether something asked for is of this format, where suffixes and marks do not tell.
        remote: whether it is read from servers and buckets.
        datasets: whether there may be several volumes inside of a file or folder (`PATH:DATASET`).
        levels: whether it may be a pyramid (`?level=`).
        missing: what becomes of absent parts unless the address says: 'error', 'fill', or '' where nothing can be
            absent.
        absent: what may be absent, for docs: 'a section that the numbering leaves out'.
        slow: whether a crop may decode far more than it needs; `Opened.slow` says whether it does.
        writer: how it is written; None where it is only read.
    """

    title: str
    given: str
    examples: tuple[str, ...]
    reads: str
    voxel_nm: str
    open: Callable[[Request], Opened]
    place: str = ""
    where: Callable[[Request], Place | None] | None = None
    suffixes: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    claims: Callable[[Request], bool] | None = None
    remote: bool = False
    datasets: bool = False
    levels: bool = False
    missing: str = ""
    absent: str = ""
    slow: bool = False
    writer: Writer | None = None

    def recognises(self, request: Request) -> bool:
        """Whether something asked for is of this format."""
        if request.remote and not self.remote:
            return False
        if self.claims is not None:
            return self.claims(request)
        if request.remote:
            return False
        if request.is_folder:
            return bool(request.names & set(self.marks))
        return not request.is_pattern and request.path.suffix.lower() in self.suffixes

    def check(self, request: Request) -> None:
        """Checks that an address says nothing that the format does not have.

        Raises:
            InputError: if it does.
        """
        address = request.address
        if not self.levels and request.level:
            raise InputError(
                f"{address.path} is a single array, no pyramid; leave out level={request.level}"
            )
        if not self.datasets and address.dataset:
            raise InputError(
                f"{address.path} has no datasets inside; leave out ':{address.dataset}'"
            )
        if not self.missing:
            refuse_key(address)
