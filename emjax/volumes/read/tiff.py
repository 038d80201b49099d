"""Multi-page TIFF; each page is a section."""

from __future__ import annotations

import dataclasses
import math
import struct
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import tifffile

from emjax.errors import InputError
from emjax.volumes.format import Format, Request
from emjax.volumes.read.image_files import passes, reason
from emjax.volumes.read.opened import Opened, chunked
from emjax.volumes.voxel_sizes import unit_nm

# Of open files that each thread keeps; finding a page again from the start of the file costs a read for each before it.
_MOST_FILES = 8
_LOCAL = threading.local()


@dataclasses.dataclass(frozen=True)
class _Pages:
    """Reads sections of a multi-page TIFF; `written` is when the file was, so that no older one is read."""

    path: str
    written: int

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        return np.stack([self._read(z) for z in range(part[0].start, part[0].stop)])[:, *part[1:]]

    def _read(self, z: int) -> np.ndarray:
        try:
            return _tiff(self.path, self.written).pages[z].asarray()
        except Exception as error:  # each codec has errors of its own
            if passes(error):
                raise
            raise InputError(
                f"section {z} of {self.path} cannot be read: {reason(error)}"
            ) from error


@dataclasses.dataclass(frozen=True)
class _Plain:
    """Reads a TIFF of which only the first section has a directory: large ImageJ stacks."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[part]


def open_tiff(request: Request) -> Opened:
    """Opens a multi-page TIFF.

    Raises:
        InputError: if it cannot be read, is cut short, or its pages are not grey sections of one size.
    """
    path = request.path
    try:
        with tifffile.TiffFile(path) as file:
            first = file.pages[0]
            if len(first.shape) != 2:
                raise InputError(
                    f"{path} has pages of {first.shape}; emjax reads grey sections [y, x] (tifffile takes stacks of 3 "
                    "or 4 for colours: write them with photometric='minisblack')"
                )
            reader, shape = _stack(path, file)
            voxel_nm = _ome_voxel_nm(file) or _imagej_voxel_nm(file)
            dtype = first.dtype
    except InputError:
        raise
    except Exception as error:  # damaged files make tifffile raise anything
        raise InputError(f"{path} cannot be read as TIFF: {reason(error)}") from error
    return Opened(
        chunked(reader, shape, dtype, (1, *shape[1:]), request.context), voxel_nm, slow=True
    )


def _stack(path: Path, file: tifffile.TiffFile) -> tuple[_Pages | _Plain, tuple[int, int, int]]:
    """Returns what reads the sections, and z, y, x."""
    first, count, stack = file.pages[0], len(file.pages), file.series[0]
    if count == 1 and len(stack.shape) == 3 and stack.dataoffset is not None:
        # ImageJ describes only the first section of a large stack.
        end = stack.dataoffset + math.prod(stack.shape) * stack.dtype.itemsize
        _refuse_cut(path, file.filehandle.size < end)
        order = file.byteorder + stack.dtype.char
        return _Plain(str(path), stack.dataoffset, stack.shape, order), stack.shape
    _refuse_cut(path, (file.imagej_metadata or {}).get("images", 1) > count)
    last = file.pages[count - 1]
    ends = [a + b for a, b in zip(last.dataoffsets, last.databytecounts, strict=True)]
    _refuse_cut(path, _next_page(file) != 0 or file.filehandle.size < max(ends))
    lengths = dict(zip(stack.axes, stack.shape, strict=True))
    if math.prod(lengths.get(axis, 1) for axis in "CTS") > 1:
        raise InputError(
            f"{path} has axes {stack.axes} of {stack.shape}; emjax reads one channel and one time"
        )
    # Pages that were written one by one are a series each.
    kinds = {(series.shape[-2:], series.dtype) for series in file.series}
    if len(kinds) > 1 or count != sum(math.prod(s.shape[:-2]) for s in file.series):
        sizes = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds, key=str)[:4])
        raise InputError(
            f"{path} has pages of several kinds ({sizes}); emjax reads sections of one size"
        )
    return _Pages(str(path), path.stat().st_mtime_ns), (count, *first.shape)


def _refuse_cut(path: Path, cut: bool) -> None:
    if cut:
        raise InputError(f"{path} is cut short: its last sections are missing; copy it again")


def _next_page(file: tifffile.TiffFile) -> int:
    """Returns where the last page that could be read says that a next one lies; 0 at the end of a whole file."""
    form, handle = file.tiff, file.filehandle
    offset = file.pages[len(file.pages) - 1].offset
    handle.seek(offset)
    tags = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))[0]
    handle.seek(offset + form.tagnosize + tags * form.tagsize)
    return struct.unpack(form.offsetformat, handle.read(form.offsetsize))[0]


def _tiff(path: str, written: int) -> tifffile.TiffFile:
    """Returns the file as this thread has it open."""
    files: dict[tuple[str, int], tifffile.TiffFile] = _LOCAL.__dict__.setdefault("files", {})
    if (path, written) not in files:
        if len(files) == _MOST_FILES:
            files.pop(next(iter(files))).close()
        files[path, written] = tifffile.TiffFile(path)
    return files[path, written]


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


FORMAT = Format(
    title="multi-page TIFF, also ImageJ, OME and BigTIFF",
    given=".tif",
    examples=("stack.tif",),
    reads="whole sections",
    voxel_nm="",
    open=open_tiff,
    suffixes=(".tif", ".tiff"),
    slow=True,
)
