"""Users read what matters to them."""

from __future__ import annotations

import logging

import pytest

from emjax.logs import _is_for_users


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
