"""Reads folders with one picture for each section."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import glob
import os
from pathlib import Path

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.attributes import read_sections_file
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.read.folder_metadata import METADATA_FILES
from emjax.volumes.read.image_files import IMAGE_SUFFIXES, grey, image_size, page_count, read_image
from emjax.volumes.read.missing import ERROR, refuse_or_say
from emjax.volumes.read.numbering import natural_order, strangers, with_gaps
from emjax.volumes.read.opened import Opened, chunked
from emjax.volumes.read.tiff import open_tiff

# Threads that read the headers of the files: on a network drive each of them waits.
_THREADS = 16
_MOST_NAMED = 8
_SUFFIXES = {*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES)}


@dataclasses.dataclass(frozen=True)
class _Sections:
    """Reads sections that are files of their own; the path '' marks an absent section."""

    paths: tuple[str, ...]
    shape: tuple[int, int]
    dtype: str
    first: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        sections = [self._read(path) for path in self.paths[part[0]]]
        return np.stack(sections)[:, part[1], part[2]]

    def _read(self, path: str) -> np.ndarray:
        if not path:
            return np.zeros(self.shape, self.dtype)
        section = grey(path, read_image(path))
        if section.shape != self.shape:
            raise _other_size(path, section.shape, self.first, self.shape)
        if section.dtype.name != self.dtype:
            raise InputError(
                f"{path} is {section.dtype}, but {self.first} is {self.dtype}; all sections of a volume need one type"
            )
        return section


def open_sections(request: Request) -> Opened:
    """Opens a folder of sections or a pattern such as `folder/*.png`, in natural order (2 before 10).

    Raises:
        InputError: if no file matches, a number is missing, a name does not fit the numbering of the
            others, two files differ in size, or the first is no grey section.
    """
    pattern = str(request.path) if request.is_pattern else _pattern_in(request)
    paths = natural_order([p for p in glob.glob(pattern) if p.lower().endswith(IMAGE_SUFFIXES)])
    if not paths:
        raise InputError(f"no section matches {pattern}; give a pattern such as folder/*.png")
    _refuse_strangers(pattern, strangers(paths), len(paths))
    sections = with_gaps(paths)
    absent = [path for path, there in sections if not there]
    refuse_or_say(pattern, absent, len(sections), request.missing or ERROR, "sections")
    if page_count(paths[0]) > 1:
        return _open_stacks(request, pattern, paths, absent)
    first = grey(paths[0], read_image(paths[0]))
    _check_sizes(tuple(paths), os.stat(Path(paths[0]).parent).st_mtime_ns)
    reader = _Sections(
        tuple(path if there else "" for path, there in sections),
        first.shape,
        first.dtype.name,
        paths[0],
    )
    shape = (len(sections), *first.shape)
    store = chunked(reader, shape, first.dtype, (1, *first.shape), request.context)
    voxel_nm = read_sections_file(request.address.path).get("voxel_nm")
    return Opened(store, tuple(voxel_nm) if voxel_nm else None, slow=True)


def _open_stacks(request: Request, pattern: str, paths: list[str], absent: list[str]) -> Opened:
    """Opens files of several sections each, one after another along z.

    Raises:
        InputError: if one is absent, or they differ in size, type or voxels; or one cannot be opened.
    """
    if absent:
        raise InputError(
            f"{pattern} lacks {os.path.basename(absent[0])}, and nobody knows how many sections it has; add it"
        )
    keys = {key: value for key, value in request.address.keys.items() if key in ("t", "missing")}
    parts = [open_tiff(Request(Address(path, keys=keys), request.context)) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        here, there = part.store, first.store
        same = here.rank == there.rank and here.shape[-2:] == there.shape[-2:]
        if not same or here.dtype != there.dtype or part.voxel_nm != first.voxel_nm:
            raise InputError(
                f"{path} has {_described(part)}, but {paths[0]} has {_described(first)}; stacks that lie one "
                "after another along z need one size, type and voxel size"
            )
    store = ts.concat([part.store for part in parts], axis=first.store.rank - 3)
    return Opened(store, first.voxel_nm, any(part.slow for part in parts))


def _described(part: Opened) -> str:
    size = "x".join(map(str, part.store.shape))
    nm = "unknown" if part.voxel_nm is None else "x".join(f"{v:g}" for v in part.voxel_nm) + " nm"
    return f"{size} {part.store.dtype.name} of {nm}"


def _refuse_strangers(pattern: str, strange: list[str], count: int) -> None:
    if not strange:
        return
    names = [os.path.basename(path) for path in strange]
    named = ", ".join(names[:_MOST_NAMED]) + (" ..." if len(names) > _MOST_NAMED else "")
    raise InputError(
        f"{pattern}: the names of {len(names)} of {count} files do not fit the numbering of the others: {named}; move "
        "what is no section elsewhere, or give a pattern of the sections alone, such as folder/s???.png"
    )


@functools.lru_cache(maxsize=64)
def _check_sizes(paths: tuple[str, ...], _written: int) -> None:
    """Compares the sizes in the headers of all files, so that a job does not fail at its last section."""
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        sizes = list(threads.map(image_size, paths))
    for path, size in zip(paths, sizes, strict=True):
        if size is not None and sizes[0] is not None and size != sizes[0]:
            raise _other_size(path, size, paths[0], sizes[0])


def _other_size(path: str, size: tuple, first: str, first_size: tuple) -> InputError:
    return InputError(
        f"{path} is {size}, but {first} is {first_size}; all sections of a volume need one size: pad or crop them, or "
        "leave some out by a pattern"
    )


def _claims(request: Request) -> bool:
    if request.is_pattern:
        return True
    if not request.is_folder or request.names & set(METADATA_FILES):
        return False
    return not request.names or bool({Path(name).suffix for name in request.names} & _SUFFIXES)


def _pattern_in(request: Request) -> str:
    """Returns the pattern that matches the sections in a folder."""
    folder = request.path
    if not request.names:
        raise InputError(f"{folder} is empty; give a folder of sections or of an array")
    suffixes = sorted({Path(name).suffix for name in request.names} & _SUFFIXES)
    if len(suffixes) > 1:
        raise InputError(
            f"{folder} holds {' and '.join(suffixes)}; say which are the sections, as in {folder}/*{suffixes[0]}"
        )
    return f"{glob.escape(str(folder))}/*{suffixes[0]}"


FORMAT = Format(
    title="one PNG, TIFF or JPEG a section, or stacks one after another, natural order (2 before 10)",
    given="a folder of sections (folder/*.png)",
    examples=("folder", "folder/*.png", "day*/s?.tif", "part*.tif"),
    reads="whole sections",
    voxel_nm="stacks: as of TIFF; sections that emjax wrote: `sections.json` beside them; else give `voxel_nm`",
    times=True,
    open=open_sections,
    claims=_claims,
    missing="error",
    absent="a section that the numbering of a folder leaves out",
    slow=True,
    writer=Writer(
        "emjax.volumes.write.sections:SectionsOutput",
        (".png",),
        "FOLDER/*.png or FOLDER/*.tif (a picture for each section)",
        remote=False,
    ),
)
