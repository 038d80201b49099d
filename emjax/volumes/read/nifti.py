"""Reads NIfTI, as ITK-SNAP, ANTs and nibabel write it: x lies closest in memory, sizes are mm or um."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.volumes.axes import Names
from emjax.volumes.format import Format, Request
from emjax.volumes.place import Place
from emjax.volumes.read.directions import Directions, read_directions
from emjax.volumes.read.image_files import passes, why
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.raw_array import RawArray, open_raw

_SUFFIXES = (".nii", ".nii.gz")
# nm of the units of NIfTI's `xyzt_units`.
_UNITS = {"meter": 1e9, "mm": 1e6, "micron": 1e3}


class _Header(NamedTuple):
    array: RawArray
    names: Names
    directions: Directions | None
    origin: np.ndarray
    voxel_nm: Triple | None


def open_nifti(request: Request) -> Opened:
    """Opens a NIfTI file of version 1 or 2.

    Raises:
        InputError: if it cannot be read or is cut short, has colours or complex numbers, or oblique or mirrored axes.
    """
    header = _read(request)
    store = open_raw(header.array, request, header.names)
    return Opened(store, header.voxel_nm, slow=bool(header.array.codec))


def where(request: Request) -> Place | None:
    """Reads the translation of the affine; None where the header has no affine of its own."""
    header = _read(request)
    return header.directions.place(header.origin) if header.directions else None


def _read(request: Request) -> _Header:
    path = str(request.path)
    try:
        image: Any = nib.load(path)
        header = image.header
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        # The header of an opened image has lost both.
        slope, intercept, offset = (getattr(image.dataobj, n) for n in ("slope", "inter", "offset"))
        stated = bool(header["sform_code"] or header["qform_code"])
        affine, zooms = np.array(image.affine, float), header.get_zooms()
        unit = _UNITS.get(header.get_xyzt_units()[0])
    except Exception as error:  # damaged headers make nibabel raise anything
        if passes(error):
            raise
        raise InputError(f"{path} cannot be read as NIfTI: {why(error)}") from error
    if dtype.names or dtype.kind == "V":
        raise InputError(
            f"{path} has colours ({dtype}); emjax reads grey values or ids: write one channel"
        )
    if not 3 <= len(shape) <= 5:
        raise InputError(f"{path} has axes of {shape} (x, y, ...); a volume needs x, y and z")
    packed = path.lower().endswith(".gz")
    array = RawArray(
        path,
        dtype.str,
        tuple(int(n) for n in shape[::-1]),
        0 if packed else int(offset),
        int(offset) if packed else 0,
        "gzip" if packed else "",
        slope=float(slope),
        intercept=float(intercept),
    )
    directions, named, side = None, ("x", "y", "z"), tuple(float(f"{v:.6g}") for v in zooms[2::-1])
    if stated:
        directions = read_directions(affine[:3, :3].T, path)
        named, side = directions.names, directions.side
    names = (*named, "t", "c")[: len(shape)][::-1]
    voxel_nm = tuple(v * unit for v in side) if unit else None
    return _Header(array, names, directions, affine[:3, 3], voxel_nm)


FORMAT = Format(
    title="NIfTI, also .nii.gz",
    given=".nii",
    examples=("em.nii", "labels.nii.gz"),
    reads="its bytes; a compressed file is held in memory",
    voxel_nm="the affine, else `pixdim`, in the unit of `xyzt_units`: unknown without one",
    place="the affine, where it is not 0",
    open=open_nifti,
    where=where,
    suffixes=_SUFFIXES,
    claims=lambda request: request.is_file_of(_SUFFIXES),
    times=True,
    slow=True,
)
