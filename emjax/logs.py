"""The log messages that a user sees while a job runs."""

from __future__ import annotations

import contextlib
import logging as standard
import os
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from absl import logging

from emjax.runs.disk import refusal

# A harmless message that orbax logs for every folder of weights that is read by itself.
_HARMLESS = "Metadata file does not exist"
# Environment variable with the level from which on XLA prints, and its highest value.
_XLA_LEVEL, _ONLY_FATAL = "TF_CPP_MIN_LOG_LEVEL", "3"
# Names of the levels on the command line -> absl's.
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logging(level: str = "info") -> None:
    """Shows emjax's log messages from a level on, and warnings of the libraries that it uses.

    Args:
        level: a key of `LEVELS`. With 'debug' everything is shown, what libraries say of themselves as well.
    """
    logging.set_verbosity(LEVELS[level])
    logging.use_absl_handler()
    handler = logging.get_absl_handler()
    handler.setFormatter(_Line())
    handler.python_handler.stream = _Screen()
    everything = level == "debug"
    _quiet_xla(not everything)
    logger = logging.get_absl_logger()
    if everything:
        logger.removeFilter(_is_for_users)
    else:
        logger.addFilter(_is_for_users)
    # At INFO, jax logs for each kind of accelerator that this machine has none, and matplotlib of its fonts.
    for library in ("jax", "matplotlib"):
        standard.getLogger(library).setLevel(standard.NOTSET if everything else standard.WARNING)


class _Screen:
    """Standard error as log messages see it: a progress bar is taken away, and drawn again below the message."""

    def write(self, text: str) -> None:
        """Writes a message."""
        # Not imported here: only a job that has a bar has imported it.
        tqdm = sys.modules.get("tqdm")
        if tqdm is None:
            sys.stderr.write(text)
            return
        with tqdm.tqdm.external_write_mode(file=sys.stderr):
            sys.stderr.write(text)

    def flush(self) -> None:
        """Writes what is waiting to be written."""
        sys.stderr.flush()

    def close(self) -> None:
        """Does nothing: standard error stays open for those who come later."""


def _quiet_xla(quiet: bool) -> None:
    """Chooses whether XLA prints of itself, such as that a program compiles slowly; its errors reach Python anyway.

    It reads the variable when it is loaded. A value that the user has set stays.
    """
    if quiet and _XLA_LEVEL not in os.environ:
        os.environ[_XLA_LEVEL] = _ONLY_FATAL
    elif not quiet and os.environ.get(_XLA_LEVEL) == _ONLY_FATAL:
        del os.environ[_XLA_LEVEL]


@contextlib.contextmanager
def heartbeat(doing: str, seconds: float = 20.0) -> Iterator[None]:
    """Logs from time to time that something still goes on: "still compiling (40 s)".

    Args:
        doing: what goes on.
        seconds: between two lines; the first comes after as long.
    """
    ended = threading.Event()
    began = time.monotonic()

    def beat() -> None:
        while not ended.wait(seconds):
            logging.info("%s (%.0f s)", doing, time.monotonic() - began)

    thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def hide_refused_tracebacks() -> None:
    """Leaves out tracebacks that libraries print of what a disk refused; the command says it in one line.

    HDF5's objects print them when they are taken apart, where no exception can be raised.
    """
    excepthook, unraisablehook = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if refusal(error) is None:
            excepthook(kind, error, trace)

    def ignored(unraisable: sys.UnraisableHookArgs) -> None:
        if refusal(unraisable.exc_value) is None:
            unraisablehook(unraisable)

    sys.excepthook, sys.unraisablehook = hook, ignored


class _Line(standard.Formatter):
    """The time and the message; what is more than information says so: "14:02:31 WARNING: ..."."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: standard.LogRecord) -> str:
        """Returns the line of a record whose time and message are set."""
        urgent = f"{record.levelname}: " if record.levelno > standard.INFO else ""
        return f"{record.asctime} {urgent}{record.message}"


def _is_for_users(record: standard.LogRecord) -> bool:
    """Returns False for orbax's hundreds of messages on the phases of each save, which are of no use to a user."""
    if "/orbax/" not in record.pathname:
        return True
    # Each of orbax's threads logs what the disk refused with a traceback; the run itself reports it in one line.
    if record.exc_info and record.exc_info[1] and refusal(record.exc_info[1]):
        return False
    return record.levelno > standard.INFO and not str(record.msg).startswith(_HARMLESS)
