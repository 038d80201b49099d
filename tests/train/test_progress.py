"""The time that is left counts from where steps were last begun."""

from __future__ import annotations

from emjax.train import progress
from emjax.train.progress import Progress


def test_what_was_compiled_on_the_way_is_not_counted(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress(10, shown=True)
    for begun, done, at in ((0, 2, 0.0), (2, 4, 1000.0)):
        now[0] = at
        shown.begin(begun)
        now[0] = at + 20
        shown.update(done, 0.5, None)
    shown.close()
    # 10 s a step.
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["step 2/10  loss 0.5  left 0:01:20", "step 4/10  loss 0.5  left 0:01:00"]
