from __future__ import annotations

import os
import signal

import jax
import pytest

from emjax.train.interrupt import Interrupt


def test_alone_both_signals_are_noticed():
    for number in (signal.SIGTERM, signal.SIGINT):
        with Interrupt() as interrupt:
            assert not interrupt.reached(1)
            os.kill(os.getpid(), number)
            assert interrupt.reached(2)


def test_of_several_ctrl_c_is_handed_on_to_the_service_of_jax(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    heard = []
    # In place of JAX's own handler of SIGTERM, which must stay where it is.
    old = signal.signal(signal.SIGTERM, lambda *_: heard.append("SIGTERM"))
    try:
        with Interrupt():
            os.kill(os.getpid(), signal.SIGINT)
            assert heard == ["SIGTERM"]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, old)
