import errno
import os

import pytest

from emjax.runs.disk import is_disk_full, refusal


@pytest.mark.parametrize(
    ("number", "says", "status"),
    [
        (errno.ENOSPC, "disk is full", 75),
        (errno.EDQUOT, "disk is full", 75),
        (errno.EIO, "failed", 75),
        (errno.EROFS, "read-only", 2),
        (errno.EFBIG, "larger than is allowed", 2),
        (errno.EMFILE, "too many files are open", 2),
    ],
)
def test_what_the_system_refuses_has_a_line_and_a_status(
    number: int, says: str, status: int
) -> None:
    told = refusal(OSError(number, os.strerror(number), "a.zarr"))
    assert told is not None and says in told.line and "a.zarr" in told.line
    assert told.status == status and "\n" not in told.line
    # TensorStore has no numbers, and other libraries wrap the error.
    text = ValueError(f"INTERNAL: writing x: {os.strerror(number)} [source locations]")
    assert refusal(text) == refusal(text) and refusal(text).status == status
    try:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise RuntimeError("not saved") from error
    except RuntimeError as error:
        assert refusal(error).status == status
        assert is_disk_full(error) == (status == 75 and number != errno.EIO)


def test_other_errors_are_bugs() -> None:
    assert refusal(KeyError("a")) is None and refusal(FileNotFoundError(2, "no", "a")) is None
    assert refusal(None) is None
    # Part of a name.
    assert refusal(ValueError("bad shape of REIONS.zarr, EIO_2.h5")) is None


def test_a_long_message_keeps_its_cause() -> None:
    told = refusal(ValueError("cannot write " + "x" * 5000 + ": No space left on device"))
    assert "No space left on device" in told.line and len(told.line) < 600
