"""Recognizes what a disk refuses in the errors of the libraries under emjax, each of which reports it differently."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emjax.errors import shortened
from emjax.runs.exit_status import INPUT_ERROR, PREEMPTED

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Refusal(NamedTuple):
    """What a disk refused, as the command reports it.

    Attributes:
        line: what happened and what to do, without an end of line.
        status: exit status of the command.
    """

    line: str
    status: int


# What the line begins with, what it advises, and the status. The same command goes on by itself only where the disk's
# state may change without the user: what he has to change first is wrong input to whoever starts the command again.
_KINDS: dict[tuple[int, ...], tuple[str, str, int]] = {
    _FULL: ("disk is full", "make room, and run the same command again", PREEMPTED),
    (errno.EIO, errno.EREMOTEIO, errno.ESTALE): (
        "the disk, or the network drive, failed",
        "once it works again, run the same command again",
        PREEMPTED,
    ),
    (errno.EROFS,): (
        "the file system is read-only",
        "give another place, or mount it for writing and run the same command again",
        INPUT_ERROR,
    ),
    (errno.EFBIG,): (
        "a file would be larger than is allowed",
        "raise the limit ('ulimit -f', or that of the file system) and run the same command again",
        INPUT_ERROR,
    ),
    (errno.EMFILE, errno.ENFILE): (
        "too many files are open",
        "raise the limit, as by 'ulimit -n 4096', and run the same command again",
        INPUT_ERROR,
    ),
}


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that a disk or a quota is full."""
    return _says(error, _FULL)


def refusal(error: BaseException | None) -> Refusal | None:
    """Returns what a disk refused, where that made a job fail; None for any other error.

    Args:
        error: what the job raised; those that caused it are looked at as well.
    """
    for numbers, (what, advice, status) in _KINDS.items():
        if _says(error, numbers):
            text = shortened(" ".join(str(error).split()))
            return Refusal(f"{what} ({text}); {advice}", status)
    return None


def _says(error: BaseException | None, numbers: Sequence[int]) -> bool:
    """Whether an error, or one that caused it, has one of these numbers of the system."""
    # TensorStore says it in the text of its errors, Python by the error's number.
    names = [text for number in numbers for text in (errno.errorcode[number], os.strerror(number))]
    # As words: three letters such as EIO are part of many a path.
    said = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    while error is not None:
        if isinstance(error, OSError) and error.errno in numbers:
            return True
        if said.search(str(error)):
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
