"""Reads NRRD, as 3D Slicer and Fiji write it: one file, or a header (.nhdr) beside its voxels."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import nrrd
import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.axes import Names, axis_names
from emjax.volumes.format import Format, Request
from emjax.volumes.place import Place
from emjax.volumes.read.directions import Directions, read_directions
from emjax.volumes.read.image_files import passes, why
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.raw_array import RawArray, open_raw
from emjax.volumes.voxel_sizes import spatial_values, unit_nm

_SUFFIXES = (".nrrd", ".nhdr")
_CODECS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
# numpy's types of the names that NRRD has for them.
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(
        ("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"
    ),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}


class _Header(NamedTuple):
    array: RawArray
    names: Names
    directions: Directions | None
    origin: np.ndarray | None
    voxel_nm: Triple | None


def open_nrrd(request: Request) -> Opened:
    """Opens an NRRD file, or the voxels that a detached header names.

    Raises:
        InputError: if it cannot be read or is cut short, has colours or complex numbers, or axes beside x, y and z
            without kinds, or oblique or mirrored ones.
    """
    header = _read(request)
    store = open_raw(header.array, request, header.names)
    return Opened(store, header.voxel_nm, slow=bool(header.array.codec))


def where(request: Request) -> Place | None:
    """Reads the `space origin` of a file that has `space directions`."""
    header = _read(request)
    if header.directions is None or header.origin is None:
        return None
    return header.directions.place(header.origin)


def _read(request: Request) -> _Header:
    path = str(request.path)
    try:
        with open(path, "rb") as file:
            header: Any = nrrd.read_header(file)
            array = _array(path, header, file.tell())
        names, steps = _axes(path, header)
    except InputError:
        raise
    except Exception as error:  # damaged headers make pynrrd raise anything
        if passes(error):
            raise
        raise InputError(f"{path} cannot be read as NRRD: {why(error)}") from error
    origin = header.get("space origin")
    if steps is None:
        return _Header(array, names[::-1], None, None, _spacing_nm(header, names))
    directions = read_directions(steps, path)
    spatial = iter(directions.names)
    names = tuple(next(spatial) if name in tuple("xyz") else name for name in names)
    factors = [unit_nm(unit) for unit in header.get("space units", ())]
    # The units are those of space, x first.
    nm = [side * f for side, f in zip(directions.side, factors[::-1], strict=False) if f]
    return _Header(array, names[::-1], directions, origin, tuple(nm) if len(nm) == 3 else None)


def _array(path: str, header: Any, start: int) -> RawArray:
    """Returns where the voxels lie."""
    kind, encoding = str(header["type"]).lower(), str(header["encoding"]).lower()
    if kind not in _TYPES:
        raise InputError(f"{path} has voxels of type {kind}; emjax reads integers and floats")
    if encoding not in _CODECS:
        raise InputError(f"{path} is written as {encoding}; write it as raw or gzip")
    named, data = header.get("data file", header.get("datafile")), path
    if named is not None:
        if not isinstance(named, str) or "%" in named or named.upper().startswith("LIST"):
            raise InputError(
                f"{path} is the header of several files; write them to one, or give the sections by a pattern"
            )
        data, start = os.path.join(os.path.dirname(path), named), 0
        if not os.path.exists(data):
            raise InputError(
                f"{path} is a header, and {data}, which holds its voxels, is not there; copy it, too"
            )
    sizes = tuple(int(n) for n in header["sizes"][::-1])
    order = ">" if header.get("endian") == "big" else "<"
    codec, inner = _CODECS[encoding], 0
    array = RawArray(data, np.dtype(order + _TYPES[kind]).str, sizes, codec=codec)
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    with open(data, "rb") as file:
        file.seek(start)
        for _ in range(lines):
            file.readline()
        start = file.tell()
    if skip == -1 and not codec:
        start = os.path.getsize(data) - array.nbytes
    elif codec:
        inner = max(0, skip)
    else:
        start += skip
    return RawArray(data, array.dtype, sizes, max(0, start), inner, codec)


def _axes(path: str, header: Any) -> tuple[Names, np.ndarray | None]:
    """Returns the names of the axes, the closest in memory first, and the steps of those of space if there are any."""
    rank = int(header["dimension"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ())] or ["???"] * rank
    for kind in kinds:
        if "color" in kind or kind == "complex":
            raise InputError(f"{path} has an axis of kind {kind}; emjax reads grey values or ids")
    found = header.get("space directions")
    if found is not None:
        rows = [None if row is None else np.asarray(row, float) for row in found]
        spatial = [row is not None and not np.isnan(row).any() for row in rows]
    else:
        rows = []
        spatial = (
            [kind in ("domain", "space") for kind in kinds] if "kinds" in header else [True] * rank
        )
    if sum(spatial) != 3:
        listed = ", ".join(
            f"{kind} of {n}" for kind, n in zip(kinds, header["sizes"], strict=False)
        )
        raise InputError(
            f"{path} has the axes {listed}; a volume needs three of space, told by `kinds` or `space directions`"
        )
    letters = iter("xyz")
    others = ["t" if kind == "time" else "c" for kind in kinds]
    names = tuple(next(letters) if s else other for s, other in zip(spatial, others, strict=True))
    labels = axis_names(header.get("labels", ()), rank)
    if found is None and set("xyz") <= set(labels):
        return labels, None
    steps: Any = [row for row, there in zip(rows, spatial, strict=True) if there] if rows else None
    if steps is not None and len(steps[0]) != 3:
        raise InputError(f"{path} has a space of {len(steps[0])} dimensions; a volume needs three")
    return names, None if steps is None else np.stack(steps)


def _spacing_nm(header: Any, names: Names) -> Triple | None:
    """Reads the `spacings`, with a unit for each axis."""
    values, units = header.get("spacings"), header.get("units")
    if values is None or units is None:
        return None
    found = spatial_values([float(v) for v in values], names)
    factors = {name: unit_nm(unit) for name, unit in zip(names, units, strict=True)}
    nm = [v * f for v, f in zip(found or (), (factors.get(a) for a in "zyx"), strict=False) if f]
    return tuple(nm) if len(nm) == 3 else None


FORMAT = Format(
    title="NRRD, also a header (.nhdr) beside its voxels",
    given=".nrrd",
    examples=("em.nrrd", "em.nhdr"),
    reads="its bytes; a compressed file is held in memory",
    voxel_nm="`space directions` and `space units`, else `spacings` and `units`: unknown without units",
    place="`space origin`, where it is not 0",
    open=open_nrrd,
    where=where,
    suffixes=_SUFFIXES,
    times=True,
    slow=True,
)
