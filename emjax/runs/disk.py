"""Recognizes a full disk or quota in the errors of the libraries under emjax, each of which reports it differently."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
# TensorStore reports a full disk in the text of its errors, Python by the error's number.
_TEXTS = ("ENOSPC", "EDQUOT", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if any(text in str(error) for text in _TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def full_disk_explained(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turns whatever a library raises when the disk is full into the `OSError` that the command explains in one line.

    Args:
        folder: folder of the run.

    Raises:
        OSError: `ENOSPC` with the folder's name, if the disk was full. It is no InputError: the same command continues
            once there is room.
    """
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder)) from error
