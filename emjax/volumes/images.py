"""Stacks of images: multi-page TIFF, and folders with one file a section."""

from __future__ import annotations

import dataclasses
import glob
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import imagecodecs
import numpy as np
import tensorstore as ts
import tifffile

from emjax.errors import InputError
from emjax.volumes.opened import Opened, chunked

_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
_NANOMETRES = {
    "nm": 1.0,
    "um": 1e3,
    "µm": 1e3,
    "\\u00b5m": 1e3,
    "micron": 1e3,
    "microns": 1e3,
    "mm": 1e6,
}


@dataclasses.dataclass(frozen=True)
class _Pages:
    """Reads sections of a multi-page TIFF."""

    path: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        with tifffile.TiffFile(self.path) as file:
            sections = [file.pages[z].asarray() for z in range(part[0].start, part[0].stop)]
        return np.stack(sections)[:, part[1], part[2]]


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
            shape, dtype = (count, *first.shape), first.dtype
    except (tifffile.TiffFileError, OSError) as error:
        raise InputError(f"{path} cannot be read as TIFF: {error}") from error
    store = chunked(_Pages(str(path)), shape, dtype, (1, *shape[1:]), context)
    return Opened(store, voxel_nm, slow=True)


def open_sections(pattern: str, context: ts.Context) -> Opened:
    """Opens a folder of sections, in natural order (2 before 10).

    Args:
        pattern: such as `folder/*.png`.
        context: with the cache.

    Raises:
        InputError: if no file matches, or the first is not a grey section.
    """
    paths = [p for p in glob.glob(str(Path(pattern).expanduser())) if p.lower().endswith(_SUFFIXES)]
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
    parts = re.split(r"(\d+)", Path(path).name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _imagej_voxel_nm(file: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """Reads ImageJ's spacing and pixels per unit."""
    about = file.imagej_metadata or {}
    factor = _NANOMETRES.get(str(about.get("unit", "")))
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
        factor = _NANOMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if not size or not factor:
            return None
        sides.append(float(size) * factor)
    return tuple(sides)
