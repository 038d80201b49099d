"""Writes a folder with one PNG or TIFF for each section, and a file that says what the pictures cannot.

A picture knows neither the voxel size nor whether it is of ids. `sections.json` beside the sections says so, and
`emjax.volumes.read.sections` reads it back.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.runs.whole_file import is_partial, write_whole
from emjax.volumes.address import local_path
from emjax.volumes.attributes import ATTRIBUTE, SECTIONS_FILE
from emjax.volumes.read.image_files import read_image
from emjax.volumes.write.output import NewVolume

# Types that each kind of file holds; masks are widened.
_PNG = ("uint8", "uint16")
_TIFF = (*_PNG, "uint32", "uint64", "int8", "int16", "int32", "float32", "float64")
# A section is made whole in memory.
_MOST_BYTES = 1 << 31


@dataclasses.dataclass(frozen=True)
class SectionsOutput:
    """A folder of sections.

    Attributes:
        path: `FOLDER/*.png` or `FOLDER/*.tif`.
    """

    path: str
    most_levels: int = dataclasses.field(default=1, init=False)
    shared: bool = dataclasses.field(default=True, init=False)
    any_shard: bool = dataclasses.field(default=True, init=False)
    hidden: bool = dataclasses.field(default=False, init=False, repr=False)
    whole_sections: bool = dataclasses.field(default=True, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises InputError unless the name is a star and a suffix in a folder."""
        name = self.path.rpartition("/")[2]
        if name.partition(".")[0] != "*" or "*" in self.path[: -len(name)]:
            stem = name.partition(".")[0].replace("*", "") or "sections"
            raise InputError(
                f"output={self.path}: sections are files of a folder, numbered along z; give {stem}/*{self.suffix}"
            )

    @property
    def suffix(self) -> str:
        """Ending of the files, such as '.png'."""
        return Path(self.path).suffix.lower()

    @property
    def folder(self) -> Path:
        """The folder."""
        return local_path(self.path).absolute().parent

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """See `Output`."""
        found = np.dtype("uint8") if dtype.name == "bool" else dtype
        known = _PNG if self.suffix == ".png" else _TIFF
        if found.name not in known:
            fix = (
                "dtype=uint16, which each id is checked for"
                if kind == "labels"
                else "value_range=LOW,HIGH"
            )
            raise InputError(
                f"output={self.path}: such files are of {', '.join(known)}, not of {dtype}; give {fix}, or NAME.zarr"
            )
        return found

    def check(self, new: NewVolume) -> None:
        """See `Output`."""
        if new.channels:
            raise InputError(
                f"output={self.path}: a section has one channel, and the input has {new.channels}; give NAME.tif or "
                "NAME.zarr"
            )
        size = math.prod(new.levels[0].size[1:]) * np.dtype(new.dtype).itemsize
        if size > _MOST_BYTES:
            raise InputError(
                f"output={self.path}: a section of {size / 2**30:.1f} GiB would be made whole in memory; give "
                "NAME.zarr or NAME.tif, or a smaller box"
            )

    def check_free(self, overwrite: bool) -> None:
        """See `Output`."""
        folder = self.folder
        if not folder.exists():
            return
        if not folder.is_dir():
            raise InputError(f"{folder} is a file; give the name of a folder, as in NAME/*.png")
        # What a killed run left half written is no file of anybody's; the next one that writes here deletes it.
        names = {path.name for path in folder.iterdir() if not is_partial(path.name)}
        own = self._own_names()
        others = sorted(names - own)
        if others:
            raise InputError(
                f"{folder} holds {others[0]}, which emjax did not write here; give another output"
            )
        if names and not overwrite:
            raise InputError(
                f"{folder} exists; give another output, or --config.overwrite=true to replace its sections"
            )

    def exists(self) -> bool:
        """See `Output`."""
        return self._file.exists()

    def is_half_made(self) -> bool:
        """Returns False: `create` writes one file."""
        return False

    def attributes(self) -> dict[str, Any]:
        """See `Output`."""
        return self._read().get(ATTRIBUTE, {})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """See `Output`."""
        self._write({**self._read(), ATTRIBUTE: dict(attributes)})

    def delete(self) -> None:
        """See `Output`: the sections first, so that the file that says whose they are is left by a kill."""
        for name in sorted(self._own_names() - {SECTIONS_FILE}):
            (self.folder / name).unlink(missing_ok=True)
        self._file.unlink(missing_ok=True)

    def create(self, new: NewVolume) -> None:
        """See `Output`."""
        self._write(
            {
                "shape": list(new.shape()),
                "dtype": new.dtype,
                "voxel_nm": None if new.voxel_nm is None else list(new.voxel_nm),
                "origin": list(new.origin),
                ATTRIBUTE: dict(new.attributes),
            }
        )

    def open(self, level: int = 0) -> ts.TensorStore:
        """See `Output`."""
        about = self._read()
        if not about:
            raise InputError(f"cannot open {self.folder} for writing: it has no {SECTIONS_FILE}")
        shape = tuple(about["shape"])
        names = tuple(str(self.folder / name) for name in _names(about, self.suffix))
        access = _Access(names)
        return ts.virtual_chunked(
            access.read,
            access.write,
            rank=3,
            domain=ts.IndexDomain(shape=shape),
            dtype=ts.dtype(np.dtype(about["dtype"])),
            chunk_layout=ts.ChunkLayout(write_chunk_shape=(1, *shape[1:])),
        )

    def finish(self) -> None:
        """Does nothing: the sections have their names from the start."""

    @property
    def _file(self) -> Path:
        return self.folder / SECTIONS_FILE

    def _own_names(self) -> set[str]:
        about = self._read()
        return {SECTIONS_FILE, *_names(about, self.suffix)} if about else set()

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and ATTRIBUTE in found and "shape" in found else {}

    def _write(self, about: Mapping[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._file, (json.dumps(about, indent=2) + "\n").encode())
        except OSError as error:
            raise InputError(f"cannot write {self.folder}: {error.strerror}") from error


def _names(about: Mapping[str, Any], suffix: str) -> list[str]:
    """Returns the names of the sections, numbered by their places in the whole."""
    first, count = int(about["origin"][0]), int(about["shape"][0])
    width = max(4, len(str(first + count - 1)))
    return [f"{number:0{width}d}{suffix}" for number in range(first, first + count)]


@dataclasses.dataclass(frozen=True)
class _Access:
    """Reads and writes whole sections, each a file of its own."""

    names: tuple[str, ...]

    def read(self, domain: ts.IndexDomain, out: np.ndarray, _: object) -> None:
        sections, y, x = domain.index_exp
        for at, number in enumerate(range(sections.start, sections.stop)):
            exists = Path(self.names[number]).exists()
            out[at] = read_image(self.names[number])[y, x] if exists else 0

    def write(self, domain: ts.IndexDomain, voxels: np.ndarray, _: object) -> None:
        start = domain.index_exp[0].start
        for number, section in enumerate(voxels, start):
            write_whole(self.names[number], _encode(self.names[number], section))


def _encode(name: str, section: np.ndarray) -> bytes:
    # Only what writes pictures needs the codecs, which take 0.1 s to import.
    import imagecodecs
    import tifffile

    section = np.ascontiguousarray(section)
    if name.endswith(".png"):
        return bytes(imagecodecs.png_encode(section))
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        section,
        photometric="minisblack",
        compression="zlib",
        metadata=None,
        software="emjax",
    )
    return buffer.getvalue()
