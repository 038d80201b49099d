"""Files of safetensors, by its library: memory-mapped, checked against the file's size before anything is read."""

from __future__ import annotations

import functools
import os

import ml_dtypes  # noqa: F401  (numpy learns of bfloat16 and the 8-bit kinds from it)
import numpy as np
import safetensors

from emjax.errors import InputError
from emjax.weights.arrays import Arrays, Entry

# Of one byte and less they have scales beside them that only their own library knows.
_REFUSED = ("F8", "F6", "F4", "I4", "U4")


def read_safetensors(path: str | os.PathLike[str]) -> Arrays:
    """Opens a file of safetensors.

    Args:
        path: a local file.

    Raises:
        InputError: if it is cut off, damaged, or holds numbers of less than 16 bits.
    """
    source = os.fspath(path)
    try:
        file = safetensors.safe_open(source, framework="numpy")
        slices = {name: file.get_slice(name) for name in file.keys()}
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        kinds = {name: part.get_dtype() for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(source, error) from error
    for name, kind in kinds.items():
        if kind.startswith(_REFUSED):
            raise InputError(
                f"{source}: '{name}' is quantized ({kind}); give the weights as they were before, in 16 or 32 bits"
            )

    def read(name: str) -> np.ndarray:
        return file.get_tensor(name)

    return Arrays(
        source, {name: Entry(shapes[name], functools.partial(read, name)) for name in shapes}
    )


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Returns the texts in the header of a file of safetensors; raises InputError as `read_safetensors` does."""
    source = os.fspath(path)
    try:
        with safetensors.safe_open(source, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> InputError:
    return InputError(
        f"{source} is no whole file of safetensors ({error}); it may be cut off: copy it again"
    )
