"""Stacks of images: multi-page TIFF, and folders with one file a section."""

from __future__ import annotations

import dataclasses
import glob
import math
import re
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import imagecodecs
import numpy as np
import tensorstore as ts
import tifffile

from emjax.errors import InputError
from emjax.volumes.opened import Opened, chunked, unit_nm

SECTION_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
# Of open files that each thread keeps; finding a page again from the start of the file costs a read for each before it.
_MOST_FILES = 8
_LOCAL = threading.local()


@dataclasses.dataclass(frozen=True)
class _Pages:
    """Reads sections of a multi-page TIFF; `written` is when the file was, so that no older one is read."""

    path: str
    written: int

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        pages = _tiff(self.path, self.written).pages
        sections = [pages[z].asarray() for z in range(part[0].start, part[0].stop)]
        return np.stack(sections)[:, part[1], part[2]]


@dataclasses.dataclass(frozen=True)
class _Plain:
    """Reads a TIFF of which only the first section has a directory: large ImageJ stacks."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[part]


@dataclasses.dataclass(frozen=True)
class _Sections:
    """Reads sections that are files of their own."""

    paths: tuple[str, ...]
    shape: tuple[int, int]

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        sections = [_read_section(self.paths[z]) for z in range(part[0].start, part[0].stop)]
        for z, section in enumerate(sections, start=part[0].start):
            if section.shape != self.shape:
                raise InputError(
                    f"{self.paths[z]} is {section.shape}, but {self.paths[0]} is {self.shape}; all sections of a "
                    "volume need one size"
                )
        return np.stack(sections)[:, part[1], part[2]]


def open_tiff(path: Path, context: ts.Context) -> Opened:
    """Opens a multi-page TIFF; each page is a section.

    Args:
        path: the file.
        context: with the cache.

    Raises:
        InputError: if it cannot be read, or its pages are not grey sections of one size.
    """
    try:
        with tifffile.TiffFile(path) as file:
            first, count = file.pages[0], len(file.pages)
            if len(first.shape) != 2:
                raise InputError(
                    f"{path} has pages of {first.shape}; emjax reads grey sections [y, x]"
                )
            voxel_nm = _ome_voxel_nm(file) or _imagej_voxel_nm(file)
            stack = file.series[0]
            reader, shape = _Pages(str(path), path.stat().st_mtime_ns), (count, *first.shape)
            if count == 1 and len(stack.shape) == 3 and stack.dataoffset is not None:
                # ImageJ describes only the first section of a large stack.
                order = file.byteorder + stack.dtype.char
                shape = stack.shape
                reader = _Plain(str(path), stack.dataoffset, shape, order)
            elif count != math.prod(stack.shape[:-2]) or stack.shape[-2:] != first.shape:
                raise InputError(
                    f"{path} has pages of several kinds; emjax reads sections of one size"
                )
            elif (
                math.prod(
                    n for n, axis in zip(stack.shape, stack.axes, strict=True) if axis in "CTS"
                )
                > 1
            ):
                raise InputError(
                    f"{path} has axes {stack.axes} of {stack.shape}; emjax reads one channel and one time"
                )
            dtype = first.dtype
    except (tifffile.TiffFileError, OSError) as error:
        raise InputError(f"{path} cannot be read as TIFF: {error}") from error
    return Opened(chunked(reader, shape, dtype, (1, *shape[1:]), context), voxel_nm, slow=True)


def _tiff(path: str, written: int) -> tifffile.TiffFile:
    """Returns the file as this thread has it open."""
    files: dict[tuple[str, int], tifffile.TiffFile] = _LOCAL.__dict__.setdefault("files", {})
    if (path, written) not in files:
        if len(files) == _MOST_FILES:
            files.pop(next(iter(files))).close()
        files[path, written] = tifffile.TiffFile(path)
    return files[path, written]


def open_sections(pattern: str, context: ts.Context) -> Opened:
    """Opens a folder of sections, in natural order (2 before 10).

    Args:
        pattern: such as `folder/*.png`.
        context: with the cache.

    Raises:
        InputError: if no file matches, or the first is not a grey section.
    """
    paths = [
        p
        for p in glob.glob(str(Path(pattern).expanduser()))
        if p.lower().endswith(SECTION_SUFFIXES)
    ]
    paths.sort(key=_natural)
    if not paths:
        raise InputError(f"no section matches {pattern}; give a pattern such as folder/*.png")
    first = _read_section(paths[0])
    if first.ndim != 2:
        raise InputError(f"{paths[0]} is {first.shape}; emjax reads grey sections [y, x]")
    shape = (len(paths), *first.shape)
    reader = _Sections(tuple(paths), first.shape)
    return Opened(chunked(reader, shape, first.dtype, (1, *first.shape), context), None, slow=True)


def _read_section(path: str) -> np.ndarray:
    try:
        if path.lower().endswith((".tif", ".tiff")):
            return tifffile.imread(path)
        return imagecodecs.imread(path)
    except Exception as error:  # noqa: BLE001  (each codec has errors of its own)
        raise InputError(f"section {path} cannot be read: {error}") from error


def _natural(path: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _imagej_voxel_nm(file: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """Reads ImageJ's spacing and pixels per unit."""
    about = file.imagej_metadata or {}
    factor = unit_nm(about.get("unit"))
    tags = file.pages[0].tags
    if not factor or "spacing" not in about or "XResolution" not in tags:
        return None
    sides = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value
        if not pixels:
            return None
        sides.append(units / pixels * factor)
    return (float(about["spacing"]) * factor, *sides)


def _ome_voxel_nm(file: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """Reads the physical sizes of OME-TIFF."""
    if not file.ome_metadata:
        return None
    pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
    if pixels is None:
        return None
    sides = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        factor = unit_nm(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if not size or not factor:
            return None
        sides.append(float(size) * factor)
    return tuple(sides)
