from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .pretraining import assert_same_losses, losses

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
PRETRAINING = Path(__file__).with_name("pretraining_worker.py")


def _run_all(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Runs processes to their end; returns their statuses, and what they wrote to stdout and stderr."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        said = [process.communicate(timeout=300) for process in processes]
        return [(p.returncode, *words) for p, words in zip(processes, said, strict=True)]
    finally:
        for process in processes:
            process.kill()


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return str(probe.getsockname()[1])


def _run_two(folder: Path, kill_at: int) -> list[tuple[int, str]]:
    port = _free_port()
    ended = _run_all([[str(WORKER), str(folder), port, str(i), str(kill_at)] for i in range(2)])
    return [(status, said) for status, _, said in ended]


def _pretrain(folder: Path, processes: int, stop_at: int = -1) -> np.ndarray:
    """Pretrains on four devices, however many processes hold them; returns the examples of each global batch."""
    port = _free_port()
    command = [str(PRETRAINING), str(folder), "--mesh=2,2,1", f"--devices={4 // processes}"]
    command += [f"--port={port}", f"--processes={processes}", f"--stop_at={stop_at}"]
    ended = _run_all([[*command, f"--process={i}"] for i in range(processes)])
    assert all(status == 0 for status, _, _ in ended), ended
    # Before them come the words of the library that joins the processes.
    return np.concatenate([json.loads(out.splitlines()[-1]) for _, out, _ in ended], axis=1)


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


@pytest.mark.slow
def test_pretraining_is_the_same_in_any_number_of_processes(tmp_path):
    """One process; two; and two that are stopped, then one. `benchmarks/meshes.py` has four as well."""
    batches = _pretrain(tmp_path / "one", 1)
    np.testing.assert_array_equal(batches[:20], np.arange(160).reshape(20, 8))
    np.testing.assert_array_equal(_pretrain(tmp_path / "two", 2), batches)
    assert_same_losses(losses(tmp_path / "two"), losses(tmp_path / "one"))
    _pretrain(tmp_path / "fewer", 2, stop_at=9)
    np.testing.assert_array_equal(_pretrain(tmp_path / "fewer", 1), batches[8:])
    assert_same_losses(losses(tmp_path / "fewer"), losses(tmp_path / "one"))
