"""What a user reads while a job runs."""

from __future__ import annotations

import logging as standard

from absl import logging

from emjax.runs.disk import is_disk_full

# Said by orbax of every folder of weights that is read by itself, and of no consequence.
_HARMLESS = "Metadata file does not exist"


def set_up_logging() -> None:
    """Shows what emjax logs from INFO on, and warnings of the libraries under it."""
    logging.set_verbosity(logging.INFO)
    logging.use_absl_handler()
    logging.get_absl_logger().addFilter(_is_for_users)
    # Says at INFO of each kind of accelerator that this machine has none.
    standard.getLogger("jax").setLevel(standard.WARNING)


def _is_for_users(record: standard.LogRecord) -> bool:
    """Leaves out what orbax reports of each phase of each save, hundreds of lines that say nothing to a user."""
    if "/orbax/" not in record.pathname:
        return True
    # Said by each of its threads with a traceback; the run itself says it in one line.
    if record.exc_info and record.exc_info[1] and is_disk_full(record.exc_info[1]):
        return False
    return record.levelno > standard.INFO and not str(record.msg).startswith(_HARMLESS)
