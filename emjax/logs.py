"""The log messages that a user sees while a job runs."""

from __future__ import annotations

import contextlib
import logging as standard
import threading
import time
from collections.abc import Iterator

from absl import logging

from emjax.runs.disk import is_disk_full

# A harmless message that orbax logs for every folder of weights that is read by itself.
_HARMLESS = "Metadata file does not exist"
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
    logging.get_absl_handler().setFormatter(_Line())
    everything = level == "debug"
    logger = logging.get_absl_logger()
    if everything:
        logger.removeFilter(_is_for_users)
    else:
        logger.addFilter(_is_for_users)
    # At INFO, jax logs for each kind of accelerator that this machine has none.
    standard.getLogger("jax").setLevel(standard.NOTSET if everything else standard.WARNING)


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
    # Each of orbax's threads logs a full disk with a traceback; the run itself reports it in one line.
    if record.exc_info and record.exc_info[1] and is_disk_full(record.exc_info[1]):
        return False
    return record.levelno > standard.INFO and not str(record.msg).startswith(_HARMLESS)
