"""What a signal means, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from emjax.blocks import stopping
from emjax.blocks.stopping import Stopping


def test_a_signal_is_noticed_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for number in (signal.SIGTERM, signal.SIGINT):
        with Stopping() as asked:
            assert not asked.requested
            os.kill(os.getpid(), number)
            assert asked.requested
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_ctrl_c_stops_at_once_but_not_the_same_one_passed_on(monkeypatch) -> None:
    """srun and timeout send to their process what the terminal has sent it already."""
    now = [100.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    with Stopping() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 0.1
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 1.0
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_threads_go_without() -> None:
    found = []

    def enter() -> None:
        with Stopping() as asked:
            found.append(asked.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]
