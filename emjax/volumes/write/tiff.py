"""Writes a TIFF stack: one page for each section, in one piece and not compressed, so that a killed run can continue.

Small stacks of the types that ImageJ knows have ImageJ's metadata; all others are OME-TIFF, and BigTIFF where they are
large. Both say the voxel size, and both are read back by `emjax.volumes.read.tiff`.
"""

from __future__ import annotations

import dataclasses
import fractions
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
import tifffile

from emjax.errors import InputError
from emjax.runs.whole_file import sync
from emjax.volumes.attributes import ATTRIBUTE
from emjax.volumes.read.image_files import why
from emjax.volumes.write.one_file import OneFile
from emjax.volumes.write.output import NewVolume, Output
from emjax.volumes.write.sections import SectionsOutput

# Private tag with what emjax remembers of the volume, as JSON; other programs ignore it.
_TAG = 65000
# Types that ImageJ reads, and those that OME-TIFF names; narrower floats and masks are widened.
_IMAGEJ = ("uint8", "uint16", "float32")
_OME = (*_IMAGEJ, "uint32", "int8", "int16", "int32", "float64")
_WIDER = {"bool": "uint8", "float16": "float32"}
# Larger files have positions of 64 bits (BigTIFF), which ImageJ's own metadata do not go with.
_MOST_CLASSIC = 2**32 - 2**25


def tiff_output(path: str) -> Output:
    """Returns the output of a name: one stack, or, where it has a star, a folder of one file for each section."""
    return SectionsOutput(path) if "*" in path else TiffOutput(path)


@dataclasses.dataclass(frozen=True)
class TiffOutput(OneFile):
    """One TIFF stack."""

    def suit(self, dtype: np.dtype, kind: str) -> np.dtype:
        """See `Output`."""
        found = _WIDER.get(dtype.name, dtype.name)
        if found not in _OME:
            raise InputError(
                f"output={self.path}: a TIFF stack cannot be of {dtype}; give dtype=uint32 for ids (each is checked), "
                "or NAME.zarr"
            )
        return np.dtype(found)

    def check_replaceable(self, file: Path) -> None:
        """Checks that the file is a TIFF that emjax wrote."""
        if _remembered(file) is None:
            raise InputError(
                f"{file} was not written by emjax, which deletes only what it wrote; delete it yourself, or give "
                "another output"
            )

    def attributes(self) -> dict[str, Any]:
        """See `Output`."""
        return (_remembered(self.current) or {}).get(ATTRIBUTE, {})

    def create(self, new: NewVolume) -> None:
        """See `Output`."""
        about = {
            ATTRIBUTE: dict(new.attributes),
            "shape": new.shape(),
            "origin": new.origin,
            "shard": new.levels[0].shard,
        }
        shape, dtype = new.shape(), np.dtype(new.dtype)
        large = math.prod(shape) * dtype.itemsize > _MOST_CLASSIC
        imagej = new.dtype in _IMAGEJ and not (large or new.channels)
        axes = "CZYX"[-len(shape) :]
        options = _imagej(new) if imagej else {"ome": True, "metadata": _ome(new)}
        options["metadata"] |= {"axes": axes}

        def write(path: Path) -> None:
            file = tifffile.memmap(
                path,
                shape=shape,
                dtype=dtype,
                bigtiff=large,
                photometric="minisblack",
                extratags=[(_TAG, "s", 0, json.dumps(about), True)],
                **options,
            )
            file.flush()
            sync(path)

        self.make(write)

    def open(self, level: int = 0) -> ts.TensorStore:
        """See `Output`."""
        file = self.current
        about = _remembered(file)
        if about is None:
            raise InputError(f"cannot open {file} for writing: it is no TIFF of emjax")
        with tifffile.TiffFile(file) as opened:
            stack = opened.series[0]
            if stack.dataoffset is None:
                raise InputError(f"cannot open {file} for writing: its sections lie apart")
            access = _Access(
                str(file),
                stack.dataoffset,
                tuple(about["shape"]),
                stack.dtype.newbyteorder("<").str,
            )
        return ts.virtual_chunked(
            access.read,
            access.write,
            rank=len(access.shape),
            domain=ts.IndexDomain(shape=access.shape),
            dtype=ts.dtype(np.dtype(access.dtype).newbyteorder("=")),
            chunk_layout=ts.ChunkLayout(
                write_chunk_shape=(*access.shape[:-3], *map(int, about["shard"]))
            ),
        )


@dataclasses.dataclass(frozen=True)
class _Access:
    """Reads and writes parts of the voxels, which lie in one piece from `offset` on."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def read(self, domain: ts.IndexDomain, out: np.ndarray, _: object) -> None:
        out[...] = self._voxels("r")[domain.index_exp]

    def write(self, domain: ts.IndexDomain, voxels: np.ndarray, _: object) -> None:
        mapped = self._voxels("r+")
        mapped[domain.index_exp] = voxels
        mapped.flush()
        sync(self.path)

    def _voxels(self, mode: Any) -> np.memmap:
        return np.memmap(self.path, self.dtype, mode, self.offset, self.shape)


def _imagej(new: NewVolume) -> dict[str, Any]:
    """Returns the options of an ImageJ stack: spacing, and pixels per unit as exact fractions."""
    if new.voxel_nm is None:
        return {"imagej": True, "metadata": {}}
    z, y, x = new.voxel_nm
    pixels = [1 / fractions.Fraction(side).limit_denominator(10**6) for side in (x, y)]
    return {
        "imagej": True,
        "resolution": tuple((p.numerator, p.denominator) for p in pixels),
        "metadata": {"spacing": z, "unit": "nm"},
    }


def _ome(new: NewVolume) -> dict[str, Any]:
    """Returns the metadata of OME-TIFF."""
    sides = {}
    for axis, side in zip("ZYX", new.voxel_nm or (), strict=False):
        sides |= {f"PhysicalSize{axis}": float(side), f"PhysicalSize{axis}Unit": "nm"}
    return sides


def _remembered(file: Path) -> dict[str, Any] | None:
    """Returns what emjax wrote into a file about it; None if it did not write the file."""
    try:
        with tifffile.TiffFile(file) as opened:
            first: Any = opened.pages[0]
            found = json.loads(first.tags[_TAG].value)
    except Exception as error:  # files of other programs make tifffile raise anything
        if isinstance(error, PermissionError):
            raise InputError(f"{file} cannot be read: {why(error)}") from error
        return None
    return found if isinstance(found, dict) and ATTRIBUTE in found else None
