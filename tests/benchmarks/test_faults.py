"""The drill in small, and that it would notice a run that lost something."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def drills(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from drills import bench, processes, runs, server

    for module in (bench, processes, runs, server):
        # Those of another folder's script could be in the way.
        assert Path(module.__file__).is_relative_to(BENCHMARKS)
    return bench, processes, runs, server


@pytest.mark.slow
def test_a_kill_changes_nothing(drills, tmp_path, monkeypatch):
    bench, processes, runs, _ = drills
    monkeypatch.setattr(processes, "EARLY", 0.0)
    monkeypatch.setattr(processes, "KILL_WITHIN_S", 1.0)
    monkeypatch.setattr(runs, "VOLUME_SHAPE", (16, 64, 128))
    commands = runs.Commands(tmp_path, 24, 2)
    commands.make_volume()
    row = processes.sigkill(bench.Bench(commands, seed=1, kills=1))
    assert row.passed and "1 run came to the end" in row.final, row


class _Pretended:
    """Commands that train nothing: a process says where it goes on, and records the rest."""

    num_steps, save_steps = 12, 3

    def __init__(self, drills, workdir: Path, restored: int, status: int = 0) -> None:
        self.workdir, self._runs, self._restored, self._status = (
            workdir,
            drills[2],
            restored,
            status,
        )

    def start(self, folder: Path, **_):
        record = "'{\"step\": 12, \"losses\": [' + ', '.join(['1.0'] * 12) + ']}\\n'"
        code = (
            "import pathlib, sys\n"
            f"print('going on from /x/checkpoints/{self._restored}')\n"
            f"folder = pathlib.Path({str(folder)!r})\n"
            "folder.mkdir(exist_ok=True)\n"
            "(folder / 'results.json').write_text('{}')\n"
            f"(folder / 'metrics.jsonl').write_text({record})\n"
            f"sys.exit({self._status})"
        )
        return self._runs.Running([sys.executable, "-c", code], {}, self.workdir / "log.txt")


def _going_on(drills, folder: Path, monkeypatch, *, restored=9, status=0, value=1.0, before=None):
    """The row of a run that was killed at step 11, with checkpoints of 6 and 9."""
    bench = drills[0]
    run = folder / "run"
    for step in (6, 9):
        (run / f"checkpoints/{step}").mkdir(parents=True)
    (run / "metrics.jsonl").write_text('{"step": 11, "losses": []}\n{"step": 12, "lo')
    states = {run: {"params/x": np.array(value)}}
    read = lambda path: states.get(path, {"params/x": np.array(1.0)})  # noqa: E731
    monkeypatch.setattr(bench.run_states, "read_state", read)
    tried = bench.Bench(_Pretended(drills, folder, restored, status), seed=0)
    return tried.go_on("drill", run, "it", before_damage=before)


def test_a_run_that_goes_on_from_its_newest_checkpoint_passes(drills, tmp_path, monkeypatch):
    row = _going_on(drills, tmp_path, monkeypatch)
    assert row.passed and row.lost == "2" and row.final == "equal to the last bit"
    assert str(row).endswith("| yes |")


@pytest.mark.parametrize(
    "fault", [{"restored": 6}, {"value": 1.0 + 1e-15}, {"status": 1}, {"restored": 0, "before": 6}]
)
def test_what_is_lost_is_noticed(drills, tmp_path, monkeypatch, fault):
    row = _going_on(drills, tmp_path, monkeypatch, **fault)
    assert not row.passed and str(row).endswith("| NO |")


def test_a_damaged_checkpoint_may_be_left_out(drills, tmp_path, monkeypatch):
    row = _going_on(drills, tmp_path, monkeypatch, restored=6, before=6)
    assert row.passed and row.lost == "5"


def test_what_a_process_said(drills, tmp_path):
    runs = drills[2]
    code = "import sys; print('compiled in 3 s'); print('emjax: a.h5 is missing'); sys.exit(2)"
    running = runs.Running([sys.executable, "-c", code], {}, tmp_path / "log.txt")
    assert running.wait_for("compiled in") and not running.wait_for("going on")
    assert running.wait() == 2 and running.restored_step() == 0
    assert running.refusal() == "emjax: a.h5 is missing"
    for text in ("emjax: one\nemjax: two\n", "emjax: one\nTraceback\n", "step 3\n"):
        (tmp_path / "log.txt").write_text(text)
        assert running.refusal() == ""


def test_the_server_fails_on_demand(drills, tmp_path):
    (tmp_path / "a").write_bytes(b"voxels")
    with drills[3].Server(tmp_path) as server:
        assert urllib.request.urlopen(f"{server.url}/a").read() == b"voxels"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{server.url}/b")
        server.broken = True
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{server.url}/a")
        assert server.refused == 1
