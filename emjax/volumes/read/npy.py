"""Reads arrays that numpy saved: z, y, x or c, z, y, x, and nothing known of them but their numbers."""

from __future__ import annotations

import numpy as np

from emjax.errors import InputError
from emjax.volumes.format import Format, Request
from emjax.volumes.read.image_files import passes, why
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.raw_array import RawArray, open_raw

# Lengths of a last axis that are colours, not x.
_COLOURS = (2, 3, 4)


def open_npy(request: Request) -> Opened:
    """Opens a file of numpy.

    Raises:
        InputError: if it cannot be read or is cut short, or holds anything but numbers with axes z, y, x or c, z, y, x.
    """
    path = str(request.path)
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            reader = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, fastest_first, dtype = reader(file)
            offset = file.tell()
    except Exception as error:  # damaged headers make numpy raise anything
        if passes(error):
            raise
        raise InputError(f"{path} cannot be read as NPY: {why(error)}") from error
    if len(shape) == 4 and shape[-1] in _COLOURS:
        raise InputError(
            f"{path} has axes of {shape}, the last of which looks like channels; save it as c, z, y, x (numpy.moveaxis)"
        )
    array = RawArray(path, dtype.str, shape, offset, fastest_first=fastest_first)
    return Opened(open_raw(array, request, (None,) * len(shape)), None)


FORMAT = Format(
    title="NPY, arrays that numpy saved",
    given=".npy",
    examples=("em.npy",),
    reads="its bytes",
    voxel_nm="nothing: give `voxel_nm`",
    open=open_npy,
    suffixes=(".npy",),
)
