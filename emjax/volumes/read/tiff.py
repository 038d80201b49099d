"""Reads multi-page TIFF; each page is a section."""

from __future__ import annotations

import dataclasses
import functools
import math
import struct
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts
import tifffile
from absl import logging

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.read.image_files import passes, refuse_large_page, why
from emjax.volumes.read.missing import ERROR, FILL, refuse_or_say
from emjax.volumes.read.opened import Opened, chunked
from emjax.volumes.read.raw_array import RawArray, open_raw
from emjax.volumes.voxel_sizes import unit_nm

# Open files that each thread keeps; finding a page from the start of the file costs a read for each page before it.
_MOST_FILES = 8
_LOCAL = threading.local()
# Number of pages whose strips and tiles are checked when a file is opened.
_LOOKED_AT = 64
_NAMES = {"T": "t", "C": "c"}


@dataclasses.dataclass(frozen=True)
class _Pages:
    """Reads sections of a multi-page TIFF.

    Attributes:
        path: of the file.
        written: when the file was written, so that no older version is read.
        pages: page number of each section, -1 where there is none, those of a channel after those of the one before;
            empty where pages are in order.
        sections: of each channel.
        shape: (y, x) pixels of a page.
        dtype: of a page.
        fill: whether absent parts are 0.
    """

    path: str
    written: int
    pages: tuple[int, ...]
    sections: int
    shape: tuple[int, int]
    dtype: str
    fill: bool

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        *channels, sections, y, x = part
        found = []
        for c in range(channels[0].start, channels[0].stop) if channels else (0,):
            first = c * self.sections
            indices = range(first + sections.start, first + sections.stop)
            found.append(np.stack([self._read(index) for index in indices])[:, y, x])
        return np.stack(found) if channels else found[0]

    def _read(self, index: int) -> np.ndarray:
        number = self.pages[index] if self.pages else index
        if number < 0:
            return np.zeros(self.shape, self.dtype)
        try:
            page = _tiff(self.path, self.written).pages[number]
            if not self.fill and _is_absent(page):
                raise InputError(
                    "strips or tiles of it were never written; ?missing=fill takes them as 0"
                )
            refuse_large_page(self.path, page)
            return page.asarray()
        except Exception as error:  # each codec has errors of its own
            if passes(error):
                raise
            raise InputError(
                f"section {index % self.sections} of {self.path} cannot be read: {why(error)}"
            ) from error


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
            voxel_nm = _ome_voxel_nm(file) or _imagej_voxel_nm(file)
            plain = _plain(request, file)
            if plain is not None:
                return Opened(plain, voxel_nm)
            reader, shape = _stack(request, file)
            dtype = first.dtype
            refuse_large_page(str(path), first)
    except InputError:
        raise
    except Exception as error:  # damaged files make tifffile raise anything
        raise InputError(f"{path} cannot be read as TIFF: {why(error)}") from error
    chunk = (1,) * (len(shape) - 2) + shape[-2:]
    return Opened(chunked(reader, shape, dtype, chunk, request.context), voxel_nm, slow=True)


def _plain(request: Request, file: tifffile.TiffFile) -> ts.TensorStore | None:
    """Opens a stack of which only the first section has a directory, as in large ones of ImageJ; None for others."""
    stack = file.series[0]
    if len(file.pages) > 1 or math.prod(stack.shape[:-2]) == 1 or stack.dataoffset is None:
        return None
    end = stack.dataoffset + math.prod(stack.shape) * stack.dtype.itemsize
    _refuse_cut(request.path, file.filehandle.size < end)
    lead = _leading(request, stack)
    names = tuple(_NAMES.get(axis, "z") for axis in lead.axes) + ("y", "x")
    dtype = np.dtype(file.byteorder + stack.dtype.char).str
    shape = (*lead.shape, *stack.shape[-2:])
    return open_raw(RawArray(str(request.path), dtype, shape, stack.dataoffset), request, names)


class _Leading(NamedTuple):
    """The axes of a stack before y and x that are longer than 1: T, C, and any other as sections."""

    axes: str
    shape: tuple[int, ...]


def _leading(request: Request, stack: tifffile.TiffPageSeries) -> _Leading:
    """Returns what the axes of a stack mean: times or channels without any sections are sections.

    Raises:
        InputError: if there are colours, or a time is asked for that is not there.
    """
    pairs = [
        (a, n) for a, n in zip(stack.axes, stack.shape, strict=True) if a not in "YX" and n > 1
    ]
    if any(axis == "S" for axis, _ in pairs):
        raise InputError(
            f"{request.path} has axes {stack.axes} of {stack.shape}; emjax reads grey sections"
        )
    axes = "".join(axis for axis, _ in pairs)
    if axes and not set(axes) - set("TC"):
        kind = "T" if "T" in axes else "C"
        axes = axes.replace(kind, "Z")
        _say_sections(str(request.path), dict(pairs)[kind], "times" if kind == "T" else "channels")
    if request.time is not None and request.time >= dict(
        zip(axes, (n for _, n in pairs), strict=True)
    ).get("T", 1):
        raise InputError(
            f"{request.path} has axes {stack.axes} of {stack.shape}; there is no t={request.time}"
        )
    if "T" in axes and request.time is None:
        last = dict(pairs)["T"] - 1
        raise InputError(
            f"{request.path} has axes {stack.axes} of {stack.shape}; add ?t=0, or another time up to {last}"
        )
    return _Leading(axes, tuple(n for _, n in pairs))


@functools.cache
def _say_sections(path: str, count: int, what: str) -> None:
    logging.info(
        "%s is a stack of %d %s without sections: they are taken as its sections", path, count, what
    )


def _stack(request: Request, file: tifffile.TiffFile) -> tuple[_Pages, tuple[int, ...]]:
    """Returns the reader of the sections, and the (z, y, x) or (c, z, y, x) size."""
    path = request.path
    first: Any = file.pages[0]
    count, stack = len(file.pages), file.series[0]
    lead = _leading(request, stack)
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
    channels = 1
    if "T" in lead.axes or "C" in lead.axes:
        order = np.array(pages or range(count)).reshape(lead.shape)
        axes = lead.axes
        if "T" in axes:
            order, axes = order.take(request.time or 0, axes.index("T")), axes.replace("T", "")
        if "C" in axes:
            order = np.moveaxis(order, axes.index("C"), 0)
            channels = order.shape[0]
        pages = tuple(order.ravel().tolist())
    _refuse_absent(request, file, pages or range(count))
    written, fill = path.stat().st_mtime_ns, request.missing == FILL
    sections = (len(pages) or total) // channels
    reader = _Pages(str(path), written, pages, sections, first.shape, first.dtype.name, fill)
    lead_shape = (channels, sections) if channels > 1 else (sections,)
    return reader, (*lead_shape, *first.shape)


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
    files = _LOCAL.__dict__.setdefault("files", _Files())
    if (path, written) not in files:
        if len(files) == _MOST_FILES:
            files.pop(next(iter(files))).close()
        files[path, written] = tifffile.TiffFile(path)
    return files[path, written]


class _Files(dict[tuple[str, int], tifffile.TiffFile]):
    """The files that a thread has open, which are closed when it ends."""

    def __del__(self) -> None:
        for file in self.values():
            file.close()


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
    times=True,
    missing="error",
    absent="a strip or tile of a TIFF without a place in the file; a section that OME-XML gives no page",
    slow=True,
    writer=Writer(
        "emjax.volumes.write.tiff:tiff_output",
        (".tif", ".tiff"),
        "NAME.tif (a TIFF stack)",
        remote=False,
    ),
)
