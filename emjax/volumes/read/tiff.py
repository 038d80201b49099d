"""Reads multi-page TIFF; each page is a section."""

from __future__ import annotations

import dataclasses
import math
import struct
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from emjax.errors import InputError
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.format import Format, Request
from emjax.volumes.read.image_files import passes, reason
from emjax.volumes.read.missing import ERROR, FILL, refuse_or_say
from emjax.volumes.read.opened import Opened, chunked
from emjax.volumes.voxel_sizes import unit_nm

# Open files that each thread keeps; finding a page from the start of the file costs a read for each page before it.
_MOST_FILES = 8
_LOCAL = threading.local()
# Number of pages whose strips and tiles are checked when a file is opened.
_LOOKED_AT = 64


@dataclasses.dataclass(frozen=True)
class _Pages:
    """Reads sections of a multi-page TIFF.

    Attributes:
        path: of the file.
        written: when the file was written, so that no older version is read.
        pages: page number of each section, -1 where there is none; empty where pages are in order.
        shape: (y, x) pixels of a page.
        dtype: of a page.
        fill: whether absent parts are 0.
    """

    path: str
    written: int
    pages: tuple[int, ...]
    shape: tuple[int, int]
    dtype: str
    fill: bool

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        return np.stack([self._read(z) for z in range(part[0].start, part[0].stop)])[:, *part[1:]]

    def _read(self, z: int) -> np.ndarray:
        number = self.pages[z] if self.pages else z
        if number < 0:
            return np.zeros(self.shape, self.dtype)
        try:
            page = _tiff(self.path, self.written).pages[number]
            if not self.fill and _is_absent(page):
                raise InputError(
                    "strips or tiles of it were never written; ?missing=fill takes them as 0"
                )
            return page.asarray()
        except Exception as error:  # each codec has errors of its own
            if passes(error):
                raise
            raise InputError(
                f"section {z} of {self.path} cannot be read: {reason(error)}"
            ) from error


@dataclasses.dataclass(frozen=True)
class _Plain:
    """Reads a TIFF in which only the first section has a directory, as in large ImageJ stacks."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)[part]


def open_tiff(request: Request) -> Opened:
    """Opens a multi-page TIFF.

    Raises:
        InputError: if it cannot be read, is cut short, or its pages are not grey sections of one size; if a section, or
            strips or tiles of one, are absent and the address does not have `missing=fill`.
    """
    path = request.path
    try:
        with tifffile.TiffFile(path) as file:
            first: Any = file.pages[0]
            if len(first.shape) != 2:
                raise InputError(
                    f"{path} has pages of {first.shape}; emjax reads grey sections [y, x] (tifffile takes stacks of 3 "
                    "or 4 for colours: write them with photometric='minisblack')"
                )
            reader, shape = _stack(request, file)
            voxel_nm = _ome_voxel_nm(file) or _imagej_voxel_nm(file)
            dtype = first.dtype
    except InputError:
        raise
    except Exception as error:  # damaged files make tifffile raise anything
        raise InputError(f"{path} cannot be read as TIFF: {reason(error)}") from error
    store = chunked(reader, shape, dtype, (1, *shape[1:]), request.context)
    return Opened(store, voxel_nm, slow=True)


def _stack(request: Request, file: tifffile.TiffFile) -> tuple[_Pages | _Plain, Size]:
    """Returns the reader of the sections, and the (z, y, x) size."""
    path = request.path
    first: Any = file.pages[0]
    count, stack = len(file.pages), file.series[0]
    shape = (math.prod(stack.shape[:-2]), *stack.shape[-2:])
    if count == 1 and 1 < shape[0] == max(stack.shape[:-2]) and stack.dataoffset is not None:
        # ImageJ describes only the first section of a large stack.
        end = stack.dataoffset + math.prod(shape) * stack.dtype.itemsize
        _refuse_cut(path, file.filehandle.size < end)
        order = file.byteorder + stack.dtype.char
        return _Plain(str(path), stack.dataoffset, shape, order), shape
    lengths = dict(zip(stack.axes, stack.shape, strict=True))
    if math.prod(lengths.get(axis, 1) for axis in "CTS") > 1:
        raise InputError(
            f"{path} has axes {stack.axes} of {stack.shape}; emjax reads one channel and one time (frames that are "
            "sections: ImageJ, Image > Hyperstacks > Re-order)"
        )
    _refuse_cut(path, (file.imagej_metadata or {}).get("images", 1) > count)
    last = file.pages[count - 1]
    ends = [a + b for a, b in zip(last.dataoffsets, last.databytecounts, strict=True)]
    _refuse_cut(path, _next_page(file) != 0 or file.filehandle.size < max(ends))
    # Pages that were written one by one are a series each.
    kinds = {(series.shape[-2:], series.dtype) for series in file.series}
    pages = _ome_order(request, file) if file.is_ome else ()
    total = len(pages) or sum(math.prod(s.shape[:-2]) for s in file.series)
    if len(kinds) > 1 or (not pages and count != total):
        sizes = ", ".join(f"{shape} {dtype}" for shape, dtype in sorted(kinds, key=str)[:4])
        raise InputError(
            f"{path} has pages of several kinds ({sizes}); emjax reads sections of one size"
        )
    _refuse_absent(request, file, pages or range(count))
    written, fill = path.stat().st_mtime_ns, request.missing == FILL
    reader = _Pages(str(path), written, pages, first.shape, first.dtype.name, fill)
    return reader, (total, *first.shape)


def _ome_order(request: Request, file: tifffile.TiffFile) -> tuple[int, ...]:
    """Returns the page of each section in OME-XML's order, -1 where it names none; empty if pages are in that order.

    Raises:
        InputError: if sections lie in other files, or there are several images; if one is absent and not to be filled.
    """
    path, text = request.path, file.ome_metadata or ""
    stack = file.series[0]
    if "BinaryOnly" in text or stack.is_multifile:
        raise InputError(
            f"{path} is one file of an OME-TIFF of several, whose sections lie in an order that another file knows; "
            "give all files by a pattern (folder/*.tif) if their names are in order, or write them to one file"
        )
    if len(file.series) > 1:
        raise InputError(
            f"{path} is an OME-TIFF of {len(file.series)} images; emjax reads one: give it a file of its own"
        )
    pages = tuple(-1 if page is None else page.index for page in stack.pages)
    absent = [f"section {z}" for z, page in enumerate(pages) if page < 0]
    refuse_or_say(str(path), absent, len(pages), request.missing or ERROR, "pages")
    return () if pages == tuple(range(len(file.pages))) else pages


def _refuse_absent(request: Request, file: tifffile.TiffFile, pages: Sequence[int]) -> None:
    """Refuses strips or tiles that are absent from the file, or logs that they are read as 0.

    Checking every page of a large file takes as long as reading it, so the other pages are checked when they are read.
    """
    step = -(-len(pages) // _LOOKED_AT)
    looked = range(0, len(pages), step)
    absent = [f"section {z}" for z in looked if pages[z] >= 0 and _is_absent(file.pages[pages[z]])]
    what = "sections with all of their strips or tiles"
    refuse_or_say(str(request.path), absent, len(looked), request.missing or ERROR, what)


def _is_absent(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """Whether a strip or tile of a page was never written, so that readers get 0."""
    return 0 in page.dataoffsets or 0 in page.databytecounts


def _refuse_cut(path: Path, cut: bool) -> None:
    if cut:
        raise InputError(f"{path} is cut short: its last sections are missing; copy it again")


def _next_page(file: tifffile.TiffFile) -> int:
    """Returns the position of the page after the last readable one, as that page states it; 0 if the file is whole."""
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


def _imagej_voxel_nm(file: tifffile.TiffFile) -> Triple | None:
    """Reads the voxel size from ImageJ's spacing and pixels per unit."""
    about = file.imagej_metadata or {}
    # Each axis may have a unit of its own, beside that of x.
    factors = [unit_nm(about.get(name, about.get("unit"))) for name in ("zunit", "yunit", "unit")]
    first: Any = file.pages[0]
    tags = first.tags
    if "spacing" not in about or "XResolution" not in tags:
        return None
    sides = [float(about["spacing"])]
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value
        if not pixels:
            return None
        sides.append(units / pixels)
    nm = [side * factor for side, factor in zip(sides, factors, strict=True) if factor]
    return tuple(nm) if len(nm) == 3 else None


def _ome_voxel_nm(file: tifffile.TiffFile) -> Triple | None:
    """Reads the voxel size from the physical sizes of OME-TIFF."""
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
    voxel_nm="ImageJ's spacing, pixels per unit, and units of each axis; OME's physical sizes",
    open=open_tiff,
    suffixes=(".tif", ".tiff"),
    missing="error",
    absent="a strip or tile of a TIFF without a place in the file; a section that OME-XML gives no page",
    slow=True,
)
