"""Parts: files of named arrays (`.npz`) that keep what was found in each block until all blocks are added up.

They are not compressed, since they are small compared with the voxels and are read once.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from emjax.blocks.opening import once
from emjax.errors import InputError
from emjax.runs.whole_file import write_whole


def part_path(folder: str, index: int) -> str:
    """Returns the path of a block's part.

    Args:
        folder: folder of the parts of one pass.
        index: number of the block.
    """
    return f"{folder.rstrip('/')}/block-{index}.npz"


def write_part(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays to a file in one piece, and returns once it survives a loss of power.

    Args:
        path: local, or an address such as `gs://...`.
        arrays: name -> array of numbers.
    """
    buffer = io.BytesIO()
    named: dict[str, Any] = dict(arrays)
    np.savez(buffer, **named)
    write_whole(path, buffer.getvalue())


def read_part(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the named arrays of a file.

    Raises:
        InputError: if the file is missing or damaged; says what to delete.
    """
    try:
        with np.load(io.BytesIO(epath.Path(path).read_bytes()), allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"cannot read {path} ({type(error).__name__}); delete the folder {os.path.dirname(os.path.dirname(path))}, "
            "and run the same command again"
        ) from error


@once(2)
def read_shared(path: str, run: str) -> dict[str, np.ndarray]:
    """Reads a file of named arrays that every block needs, once in each process.

    Args:
        path: path of the file.
        run: name of the run.
    """
    return read_part(path)
