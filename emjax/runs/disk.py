"""A disk or a quota without room, as the libraries under emjax report it, each in its own way."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# TensorStore says it in the text of its errors, Python by number.
_TEXTS = ("ENOSPC", "EDQUOT", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised for, says that a disk or a quota has no room."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if any(text in str(error) for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def full_disk_explained(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what any library raises when the disk is full into the error that the command has a line for.

    Args:
        folder: of the run.

    Raises:
        OSError: `ENOSPC` with the folder's name, if the disk was full. No error of the user's input: the same command
            goes on once there is room.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder)) from error
