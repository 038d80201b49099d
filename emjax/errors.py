"""The exception for wrong input of the user, and how errors of libraries are quoted in its message."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input cannot work; the message says what to do about it.

    The message is one line: what was given, what is needed, what to do. The command line prints it without a
    traceback and exits with status 2; every other exception is a bug of emjax.
    """


# Most characters of either end of a quoted message.
_END = 200


def reason(error: BaseException) -> str:
    """Returns the first line of a library's message, shortened, or the type of an error that says nothing."""
    return shortened((str(error).splitlines() or [""])[0] or type(error).__name__)


def shortened(text: str) -> str:
    """Leaves out the middle of a long message: it begins with what was done, and ends with the cause."""
    return text if len(text) <= 2 * _END else f"{text[:_END]} ... {text[-_END:]}"
