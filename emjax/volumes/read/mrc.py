"""Reads MRC of 2014, as microscopes, IMOD, Warp and Relion write it.

https://www.ccpem.ac.uk/mrc-format/mrc2014/; IMOD's own marks: https://bio3d.colorado.edu/imod/doc/mrc_format.txt.
Sections are read as stored, the first row first, though IMOD shows it at the bottom.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

import mrcfile
import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.format import Format, Request
from emjax.volumes.place import Place
from emjax.volumes.read.image_files import passes, why
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.raw_array import RawArray, open_raw

_PLAIN = (".mrc", ".rec", ".st", ".ali", ".map", ".mrcs")
_SUFFIXES = (
    *_PLAIN,
    *(f"{suffix}{end}" for suffix in (".mrc", ".rec", ".map") for end in (".gz", ".bz2")),
)
_HEAD = 1024  # bytes of the header
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_COMPLEX = (3, 4)
_ANGSTROM = 0.1  # nm
# Marks of IMOD in the words 39 and 40 of the header, and what its flags mean.
_STAMP, _SIGNED, _INVERTED, _NIBBLES = 1146047817, 1, 4, 16


class _Header(NamedTuple):
    array: RawArray
    names: tuple[str, ...]
    voxel_nm: Triple | None
    place: Place | None


def open_mrc(request: Request) -> Opened:
    """Opens an MRC file.

    Raises:
        InputError: if it cannot be read or is cut short, has complex numbers, half bytes or several volumes.
    """
    header = _read(request)
    store = open_raw(header.array, request, header.names)
    return Opened(store, header.voxel_nm, slow=bool(header.array.codec))


def where(request: Request) -> Place | None:
    """Reads the origin, else the start of the file in its whole; None where both are 0."""
    return _read(request).place


def _read(request: Request) -> _Header:
    path = str(request.path)
    codec = {".gz": "gzip", ".bz2": "bzip2"}.get(request.path.suffix.lower(), "")
    try:
        with warnings.catch_warnings():
            # Of what is odd in a header; what matters is checked below.
            warnings.simplefilter("ignore")
            with mrcfile.open(path, permissive=True, header_only=True) as file:
                header: Any = file.header
                head = header.copy()
    except Exception as error:  # damaged headers make mrcfile raise anything
        if passes(error):
            raise
        raise InputError(f"{path} cannot be read as MRC: {why(error)}") from error
    shape = tuple(int(head[name]) for name in ("nz", "ny", "nx"))
    mapped = tuple(int(head[name]) for name in ("maps", "mapr", "mapc"))
    # Old programs leave it out: columns are x, rows y, sections z.
    mapped = (3, 2, 1) if mapped == (0, 0, 0) else mapped
    if min(shape) < 0 or sorted(mapped) != [1, 2, 3]:
        raise InputError(
            f"{path} is no MRC: its header says {shape} voxels along the axes {mapped}"
        )
    if int(head["ispg"]) > 400 and 0 < int(head["mz"]) < shape[0]:
        raise InputError(
            f"{path} holds {shape[0] // int(head['mz'])} volumes; write the one that is meant to a file of its own"
        )
    names = tuple("xyz"[axis - 1] for axis in mapped)
    side = _side(head, path)
    array = RawArray(
        path,
        _dtype(head, path),
        shape,
        0 if codec else _HEAD + int(head["nsymbt"]),
        _HEAD + int(head["nsymbt"]) if codec else 0,
        codec,
    )
    return _Header(array, names, side, _place(head, names, side))


def _dtype(head: Any, path: str) -> str:
    """Returns the type of a voxel, byte order included."""
    mode, order = int(head["mode"]), ">" if head.dtype["mode"].byteorder == ">" else "<"
    if mode in _COMPLEX:
        raise InputError(
            f"{path} has mode {mode}, complex numbers, which a transform has; give the volume itself"
        )
    stamp, flags = _imod(head)
    if mode not in _MODES or (mode == 0 and stamp and flags & _NIBBLES):
        raise InputError(
            f"{path} has mode {mode}{', half bytes' if mode in (0, 101) else ''}; emjax reads the modes "
            f"{', '.join(map(str, _MODES))}: convert it (IMOD: newstack -mode 1)"
        )
    if mode == 0 and ((stamp and not flags & _SIGNED) or float(head["dmax"]) > 127):
        # The bytes of IMOD before 2012, and of programs that never knew of signs.
        return "|u1"
    return np.dtype(order + _MODES[mode]).str


def _imod(head: Any) -> tuple[bool, int]:
    """Whether IMOD wrote the file, and the flags that it left."""
    words = head["extra2"].tobytes()
    kind = np.dtype(">i4" if head.dtype["mode"].byteorder == ">" else "<i4")
    # `extra2` begins at word 28; IMOD's stamp is word 39.
    stamp, flags = np.frombuffer(words, kind, 2, (39 - 28) * 4)
    return int(stamp) == _STAMP, int(flags)


def _side(head: Any, path: str) -> Triple | None:
    """Returns the (z, y, x) size of a voxel, nm: the cell by the number of its samples; None where it is not told."""
    cell = [float(head["cella"][axis]) for axis in "zyx"]
    samples = [int(head[name]) for name in ("mz", "my", "mx")]
    if not any(cell) or not all(samples):
        return None
    angstrom = [length / n for length, n in zip(cell, samples, strict=True)]
    if all(round(side, 5) == 1 for side in angstrom):
        _say_unknown(path)
        return None
    return tuple(float(f"{side:.6g}") * _ANGSTROM for side in angstrom)


def _place(head: Any, names: tuple[str, ...], side: Triple | None) -> Place | None:
    """Returns the place: the origin in angstrom unless it is 0, else the first column, row and section."""
    origin = np.array([float(head["origin"][axis]) for axis in "zyx"])
    stamp, flags = _imod(head)
    if origin.any() and side is not None and np.isfinite(origin).all() and min(side) > 0:
        # IMOD counts from the first voxel to the origin unless it says otherwise.
        sign = -1 if stamp and not flags & _INVERTED else 1
        return Place.of(np.round(sign * origin * _ANGSTROM / np.array(side), 3).tolist())
    starts = [int(head[name]) for name in ("nzstart", "nystart", "nxstart")]
    if not any(starts):
        return None
    # They count along the axes of the file.
    by_name = dict(zip(names, starts, strict=True))
    return Place.of([by_name[axis] for axis in "zyx"])


@functools.cache
def _say_unknown(path: str) -> None:
    logging.warning(
        "%s says that its voxels are 1 x 1 x 1 angstrom, as programs write that know no size: it is taken as unknown; "
        "add ?voxel_nm=Z,Y,X to its address",
        path,
    )


FORMAT = Format(
    title="MRC, also REC and ST, plain or compressed",
    given=".mrc",
    examples=("tomogram.mrc", "tomogram.rec", "em.mrc.gz"),
    reads="its bytes; a compressed file is held in memory",
    voxel_nm="the cell (angstrom) by its samples `mx`, `my`, `mz`; unknown where it is 1 angstrom",
    place="the origin, where it is not 0 (IMOD's sign is heeded), else `nxstart`, `nystart`, `nzstart`",
    open=open_mrc,
    where=where,
    suffixes=_SUFFIXES,
    claims=lambda request: request.is_file_of(_SUFFIXES),
    slow=True,
)
