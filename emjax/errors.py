"""The exception for wrong input of the user."""

from __future__ import annotations


class InputError(ValueError):
    """The user's input cannot work; the message says what to do about it.

    The message is one line: what was given, what is needed, what to do. The command line prints it without a
    traceback and exits with status 2; every other exception is a bug of emjax.
    """
