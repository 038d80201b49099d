"""Users read what matters to them."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import types

import pytest
from absl import logging as absl_logging
from tqdm import tqdm

from emjax import logs
from emjax.logs import _is_for_users, _Line, heartbeat, set_up_logging


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


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, r"\d\d:\d\d:\d\d compiling 3"),
        (logging.WARNING, r"\d\d:\d\d:\d\d WARNING: compiling 3"),
    ],
)
def test_a_line_is_time_and_message(level, line):
    record = logging.LogRecord("absl", level, "/x.py", 1, "compiling %d", (3,), None)
    assert re.fullmatch(line, _Line().format(record))


def test_debug_shows_what_libraries_say_and_info_does_not():
    jax, absl = logging.getLogger("jax"), logging.getLogger("absl")
    set_up_logging("debug")
    assert jax.level == logging.NOTSET and _is_for_users not in absl.filters
    set_up_logging()
    assert jax.level == logging.WARNING and _is_for_users in absl.filters


def test_heartbeat_while_it_lasts(caplog):
    with caplog.at_level(logging.INFO, logger="absl"):
        with heartbeat("still compiling", seconds=0.01):
            time.sleep(0.1)
        beats = len(caplog.records)
        time.sleep(0.05)
    assert 1 <= beats == len(caplog.records)
    assert caplog.records[0].getMessage() == "still compiling (0 s)"
    with pytest.raises(KeyError), heartbeat("x", seconds=9.0):
        raise KeyError


def test_a_message_is_a_line_of_its_own_beside_a_bar(capfd, monkeypatch):
    set_up_logging()
    bar = tqdm(total=4, desc="work", file=sys.stderr, mininterval=0, ncols=40)
    bar.update(1)
    absl_logging.info("compiled")
    bar.update(1)
    bar.close()
    # The bar is wiped out by a return and blanks before the message, and drawn anew below it.
    written = capfd.readouterr().err
    line = next(part for part in written.split("\n") if "compiled" in part).split("\r")[-1]
    assert re.fullmatch(r"\d\d:\d\d:\d\d compiled", line)
    assert written.endswith("\n") and "2/4" in written.rpartition("compiled")[2]


def test_xla_speaks_only_when_asked(monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    set_up_logging()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    set_up_logging("debug")
    assert "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    set_up_logging()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_tracebacks_of_what_a_disk_refused_are_left_out(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: shown.append(error))
    monkeypatch.setattr(sys, "unraisablehook", lambda ignored: shown.append(ignored.exc_value))
    logs.hide_refused_tracebacks()
    full, bug = OSError(28, "No space left on device"), KeyError("a")
    for error in (full, bug):
        sys.excepthook(type(error), error, None)
        sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    assert shown == [bug, bug]
