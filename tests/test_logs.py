"""Users read what matters to them."""

from __future__ import annotations

import logging

import pytest

from emjax.logs import _is_for_users, set_up_logging


@pytest.mark.parametrize(
    ("path", "level", "message", "shown"),
    [
        ("/x/emjax/train/loop.py", logging.INFO, "compiling the step", True),
        ("/x/orbax/checkpoint.py", logging.INFO, "saving phase 3", False),
        ("/x/orbax/checkpoint.py", logging.WARNING, "checksum differs", True),
        ("/x/orbax/checkpoint.py", logging.WARNING, "Metadata file does not exist: %s", False),
    ],
)
def test_records_of_orbax(path, level, message, shown):
    record = logging.LogRecord("absl", level, path, 1, message, None, None)
    assert _is_for_users(record) is shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [(ValueError("x: No space left on device [28]"), False), (ValueError("x: torn"), True)],
)
def test_a_full_disk_is_not_reported_by_each_thread_of_orbax(error, shown):
    record = logging.LogRecord(
        "absl", logging.ERROR, "/x/orbax/future.py", 1, "failed", None, (type(error), error, None)
    )
    assert _is_for_users(record) is shown


def test_accelerators_that_are_not_there_are_not_listed(caplog):
    set_up_logging()
    logger = logging.getLogger("jax._src.xla_bridge")
    logger.info("Unable to initialize backend 'tpu'")
    logger.warning("fell back to the CPU")
    assert [record.getMessage() for record in caplog.records] == ["fell back to the CPU"]
