"""The contract of a format: how its files are recognised, opened and written.

A format is one file with a `Format` in it and one line in `emjax.volumes.formats`; that of another package is an entry
point of the group `emjax.formats`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.address import Address, local_path, parse_triple
from emjax.volumes.attributes import dataset_url, folder_url
from emjax.volumes.place import Place
from emjax.volumes.read.folder_metadata import METADATA_FILES, read_metadata
from emjax.volumes.read.missing import missing_key, refuse_key
from emjax.volumes.read.opened import Opened

_REMOTE = ("gs://", "s3://", "http://", "https://")


@dataclasses.dataclass(frozen=True)
class Request:
    """The volume that an address asks for, and what lies at that place.

    Attributes:
        address: of the volume.
        context: TensorStore context with the cache of decoded chunks; None where only metadata are read.
    """

    address: Address
    context: ts.Context | None = None

    @property
    def remote(self) -> bool:
        """Whether the volume lies on a server or in a bucket."""
        return self.address.path.startswith(_REMOTE)

    @functools.cached_property
    def path(self) -> Path:
        """Absolute path on this machine, as readers may open files later, in a process with another working folder."""
        return local_path(self.address.path).absolute()

    @functools.cached_property
    def is_folder(self) -> bool:
        """Whether the path is a folder on this machine."""
        return not self.remote and self.path.is_dir()

    @property
    def is_zip(self) -> bool:
        """Whether the path is a zip file on this machine, which may hold an array."""
        return self.is_file_of((".zip",))

    @functools.cached_property
    def is_pattern(self) -> bool:
        """Whether the path is a pattern such as `folder/*.png`, and not an existing file of exactly that name."""
        path = self.address.path
        return not self.remote and ("*" in path or "?" in path) and not self.path.exists()

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Names of the entries of the folder, if the path is a folder on this machine; empty otherwise."""
        return frozenset(os.listdir(self.path)) if self.is_folder else frozenset()

    @property
    def url(self) -> str:
        """TensorStore's URL of the path as a folder, with a slash at its end."""
        return folder_url(self.address.path)

    @property
    def base(self) -> str:
        """TensorStore's URL of the addressed folder, dataset included, with a slash at its end."""
        return dataset_url(self.address)

    @functools.cached_property
    def metadata(self) -> dict[str, dict[str, Any] | None]:
        """Contents of the `METADATA_FILES` of the addressed folder; None for files that do not exist."""
        if not (self.remote or self.is_folder or self.is_zip):
            return dict.fromkeys(METADATA_FILES)
        return read_metadata(self.base, self.context)

    @property
    def level(self) -> int:
        """The level of the pyramid that the address asks for; 0 is full resolution."""
        return self.address.whole_number("level", "0 for full resolution")

    @property
    def time(self) -> int | None:
        """The one of several times that the address asks for; None where it names none."""
        return (
            self.address.whole_number("t", "0 for the first") if "t" in self.address.keys else None
        )

    def is_file_of(self, suffixes: Sequence[str]) -> bool:
        """Whether the path is a file on this machine whose name has one of these endings, in lower case: `.nii.gz`."""
        local = not (self.remote or self.is_folder or self.is_pattern)
        return local and self.path.name.lower().endswith(tuple(suffixes))

    def voxel_nm(self, found: Triple | None) -> Triple | None:
        """Returns the voxel size by which an offset in nm is divided: that of its own file, else that of the address.

        Args:
            found: (z, y, x) nm, as the file states it; None where it does not.
        """
        given = self.address.keys.get("voxel_nm")
        return found if found or given is None else parse_triple(given, "voxel_nm")

    @property
    def missing(self) -> str:
        """The address's key `missing` for absent parts: 'error', 'fill', or '' to leave it to the format."""
        return missing_key(self.address, "")


@dataclasses.dataclass(frozen=True)
class Writer:
    """How volumes of a format are written.

    Attributes:
        make: 'module:attribute' of a function that makes the `emjax.volumes.write.output.Output` for a path (and a
            dataset, where the format has them). It is a name so that reading a format does not import its writer.
        suffixes: file name endings of outputs, lower case with the dot.
        given: what a user writes as the output, for messages and docs: 'NAME.zarr (OME-Zarr)'.
        remote: whether outputs can be written to a bucket.
        datasets: whether an output may be a dataset inside a file.
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
        title: name of the format, for docs.
        given: how a user names a volume of this format, for messages: '.h5'.
        examples: example addresses, for docs.
        reads: what has to be read for a crop, for docs.
        voxel_nm: where in the file the voxel size is found, for docs.
        place: where in the file the place of the volume is found, for docs; '' where files do not say it.
        open: opens the requested volume. It raises InputError for everything that is wrong with it.
        where: reads the place of a file without opening its voxels; None where files do not say it. Raises InputError
            for damaged metadata.
        suffixes: file name endings, lower case with the dot.
        marks: names of files that only a folder of this format holds.
        claims: whether a request is for this format, where suffixes and marks do not tell.
        remote: whether the format is read from servers and buckets.
        datasets: whether a file or folder may hold several volumes (`PATH:DATASET`).
        levels: whether a volume may be a pyramid (`?level=`).
        times: whether a volume may be a series in time (`?t=`).
        missing: how absent parts are treated unless the address says: 'error', 'fill', or '' where nothing can be
            absent.
        absent: which parts may be absent, for docs: 'a section that the numbering leaves out'.
        slow: whether reading a crop may decode far more than the crop; `Opened.slow` tells it for one volume.
        writer: how the format is written; None where it is only read.
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
    times: bool = False
    missing: str = ""
    absent: str = ""
    slow: bool = False
    writer: Writer | None = None

    def recognises(self, request: Request) -> bool:
        """Whether the requested volume is of this format."""
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
        """Checks that the address has no dataset, level or `missing` key that the format does not support.

        Raises:
            InputError: if it has one.
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
        if not self.times and request.time is not None:
            raise InputError(f"{address.path} has one time alone; leave out t={request.time}")
        if not self.missing:
            refuse_key(address)
