"""The log messages that a user sees while a job runs."""

from __future__ import annotations

import logging as standard

from absl import logging

from emjax.runs.disk import is_disk_full

# A harmless message that orbax logs for every folder of weights that is read by itself.
_HARMLESS = "Metadata file does not exist"


def set_up_logging() -> None:
    """Shows emjax's log messages from INFO on, and warnings of the libraries that it uses."""
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_logger().addFilter(_is_for_users)
    # At INFO, jax logs for each kind of accelerator that this machine has none.
    standard.getLogger("jax").setLevel(standard.WARNING)


def _is_for_users(record: standard.LogRecord) -> bool:
    """Returns False for orbax's hundreds of messages on the phases of each save, which are of no use to a user."""
    if "/orbax/" not in record.pathname:
        return True
    # Each of orbax's threads logs a full disk with a traceback; the run itself reports it in one line.
    if record.exc_info and record.exc_info[1] and is_disk_full(record.exc_info[1]):
        return False
    return record.levelno > standard.INFO and not str(record.msg).startswith(_HARMLESS)
