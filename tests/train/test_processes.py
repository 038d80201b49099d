from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


def _run_two(folder: Path, kill_at: int) -> list[tuple[int, str]]:
    """Runs both processes to their end; returns their statuses and what they said."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder), port, str(i), str(kill_at)],
            cwd=REPOSITORY,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        return [(p.returncode, said) for p in processes for said in [p.communicate(timeout=120)[1]]]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path):
    first = _run_two(tmp_path, kill_at=60)
    assert [status for status, _ in first] == [75, 75], first
    steps = {int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()}
    assert 60 < max(steps) < 200
    # A checkpoint that was torn meanwhile is skipped by both.
    (torn,) = (tmp_path / f"checkpoints/{max(steps)}/params").glob("d/*")
    torn.write_bytes(torn.read_bytes()[:100])
    second = _run_two(tmp_path, kill_at=-1)
    assert [status for status, _ in second] == [0, 0], second
    assert f"checkpoints/{max(steps)} is damaged" in second[0][1]
    lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len([loss for line in lines for loss in line.get("losses", [])]) == 200
