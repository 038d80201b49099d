"""The one exception that means: the user's input is wrong."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot work, and the message says what to do about it.

    The message is one line: what was given, what is needed, what to do. The command line prints it without a
    traceback and exits with status 2; every other exception is a bug of emjax.
    """
