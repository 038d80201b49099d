"""Sums of tables are those of all at once, in the memory of the sum."""

from __future__ import annotations

import numpy as np

from emjax.blocks import running_total
from emjax.blocks.running_total import RunningTotal
from emjax.evaluation.contingency import Contingency


def _part(seed: int) -> Contingency:
    labels, segments = np.random.default_rng(seed).integers(0, 5, (2, 4, 5, 6))
    return Contingency.from_arrays(labels, segments)


def test_the_order_and_the_number_at_a_time_make_no_difference(monkeypatch):
    parts = [_part(seed) for seed in range(20)]
    expected = Contingency.total(parts)
    for waiting in (0, 30, 10_000):
        monkeypatch.setattr(running_total, "_WAITING", waiting)
        total = RunningTotal(Contingency)
        for part in parts[::-1]:
            total.add(part)
        for name in ("labels", "segments", "counts"):
            assert np.array_equal(getattr(total.total(), name), getattr(expected, name))


def test_few_rows_are_kept(monkeypatch):
    monkeypatch.setattr(running_total, "_WAITING", 10)
    rows = []

    class Counted(Contingency):
        @classmethod
        def total(cls, parts):
            parts = list(parts)
            rows.append(sum(map(len, parts)))
            return Contingency.total(parts)

    total = RunningTotal(Counted)
    for seed in range(200):
        total.add(_part(seed))
    # 25 pairs are the sum; as many may wait, 10 more, and those of the last part.
    assert len(total.total()) == 25 and max(rows) <= 25 + 25 + 10 + 25 and len(rows) > 20


def test_nothing_is_the_empty_table():
    assert len(RunningTotal(Contingency).total()) == 0
