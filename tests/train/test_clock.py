"""Times by hand, with a clock that the test moves."""

from __future__ import annotations

import pytest

from emjax.train.clock import Clock


def test_a_lap_is_split():
    time = [100.0]
    clock = Clock(lambda: time[0])
    with clock.data():
        time[0] += 50  # before the stretch began: no part of it
    clock.start()
    for _ in range(2):
        with clock.device():
            time[0] += 3
        with clock.data():
            time[0] += 1
        time[0] += 0.5
    assert clock.lap(2) == {"step_s": 4.5, "data_wait_s": 1.0, "device_s": 3.0, "other_s": 0.5}
    time[0] += 20
    clock.start()  # as after a save
    with clock.device():
        time[0] += 1
    assert clock.lap(1)["step_s"] == 1.0
    assert (clock.seconds, clock.steps) == (10.0, 3)


def test_no_part_is_negative():
    ticks = iter([0.0, 0.0, 1.0, 1.0 - 1e-9])
    clock = Clock(lambda: next(ticks))
    clock.start()
    with clock.data():
        pass
    assert clock.lap(1)["other_s"] == pytest.approx(0, abs=0)
