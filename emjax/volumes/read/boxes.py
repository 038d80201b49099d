"""Reads boxes of voxels; an error is reported in one line that names the place of the bad chunk."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.volumes.attributes import first_sentence
from emjax.volumes.chunk_sides import read_sides

# How TensorStore's errors begin: with a status, or with what could not be read.
_STATUS = re.compile(r"^([A-Z_]+): ")
_UNSTATED = "Error reading "
# TensorStore's words for errors of a file that will fail again at the next try; all other errors may pass.
_LASTING = (
    *("DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED", "UNIMPLEMENTED"),
)
# Most chunks that are tried one by one to find the bad one.
_MOST_CHUNKS = 4096


def begin_read(
    store: ts.TensorStore, box: Box, name: str, origin: Size
) -> Callable[[], np.ndarray]:
    """Begins to read a part of a volume, and does not wait.

    Args:
        store: `[z, y, x]` or `[c, z, y, x]`, origin 0.
        box: in voxels of the store.
        name: of the volume, for error messages.
        origin: (z, y, x) voxel of the file at which the store begins, so that messages name voxels of the file.

    Returns:
        A function that waits for the part, `[z, y, x]` or `[c, z, y, x]`. It raises InputError if a chunk is damaged,
        absent where that is refused, or may not be read, and names file and box; OSError if reading failed in a way
        that may pass, such as a server that does not answer.
    """
    reading = store[(..., *box.slices)].read()
    return lambda: _finish(reading, store, box, name, origin)


def _finish(
    reading: ts.Future, store: ts.TensorStore, box: Box, name: str, origin: Size
) -> np.ndarray:
    try:
        return reading.result()
    except (ValueError, OSError, RuntimeError) as error:
        # An error that is a bug of emjax or of a library keeps its traceback.
        if not isinstance(error, InputError | OSError) and not _told(error):
            raise
        where = f"{name} cannot be read at"
        if isinstance(error, InputError):
            raise InputError(f"{where} {box.translate(origin)}: {error}") from error
        if not _lasts(error):
            raise OSError(f"{where} {box.translate(origin)}: {first_sentence(error)}") from error
        chunk, error = _bad_chunk(store, box) or (box, error)
        raise InputError(f"{where} {chunk.translate(origin)}: {_explained(error)}") from error


def refusal(error: Exception) -> Exception:
    """Returns what to raise for an error of TensorStore: InputError if it lasts, OSError if it may pass.

    An error that TensorStore does not word so is a bug, and returned as it is.
    """
    if isinstance(error, InputError) or not (_told(error) or isinstance(error, OSError)):
        return error
    return InputError(_explained(error)) if _lasts(error) else OSError(first_sentence(error))


def _explained(error: Exception) -> str:
    """Returns what TensorStore says, and what to do."""
    text = _STATUS.sub("", first_sentence(error))
    said = _STATUS.match(str(error))
    status = said[1] if said else "DATA_LOSS"
    hint = ""
    if status == "NOT_FOUND":
        hint = "; restore it, or add ?missing=fill to take absent chunks as 0"
    elif status in ("DATA_LOSS", "FAILED_PRECONDITION"):
        hint = "; the file is damaged: restore it, or leave this box out"
    return text + hint


def _told(error: Exception) -> bool:
    """Whether TensorStore worded an error."""
    return bool(_STATUS.match(str(error))) or str(error).startswith(_UNSTATED)


def _lasts(error: Exception) -> bool:
    status = _STATUS.match(str(error))
    return status[1] in _LASTING if status else str(error).startswith(_UNSTATED)


def _bad_chunk(store: ts.TensorStore, box: Box) -> tuple[Box, Exception] | None:
    """Finds the first chunk of a box that cannot be read, and why; None if there are too many chunks to try."""
    sides = read_sides(store)[-3:]
    corner = [at for at in store.chunk_layout.grid_origin or () if at is not None][-3:]
    if not all(sides) or len(corner) < 3:
        return None
    whole = Box((0, 0, 0), tuple(store.shape[-3:]))
    starts = [
        range(first - (first - at) % side, stop, side)
        for first, stop, side, at in zip(box.start, box.stop, sides, corner, strict=True)
    ]
    for start in itertools.islice(itertools.product(*starts), _MOST_CHUNKS):
        chunk = Box(start, sides).clip(whole)
        try:
            store[(..., *chunk.slices)].read().result()
        except (ValueError, OSError, RuntimeError) as error:
            if _lasts(error):
                return chunk, error
    return None
