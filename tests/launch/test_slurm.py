from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "slurm.sbatch"
WORD = '--config.data.volumes=a; it\'s "b" $HOME *'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs that note their arguments; srun then runs the command once, as on one node."""
    for name, after in (
        ("srun", 'trap : TERM; while [[ $1 == --* ]]; do shift; done; "$@"'),
        ("scontrol", ""),
    ):
        path = tmp_path / name
        note = "import json, sys; print(json.dumps(sys.argv[1:]))"
        path.write_text(
            f'#!/bin/bash\n{sys.executable} -c "{note}" "$@" >>{tmp_path}/{name}.calls\n{after}\n'
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "32")
    return tmp_path


def _calls(folder: Path, name: str) -> list[list[str]]:
    path = folder / f"{name}.calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _command(code: str) -> list[str]:
    return ["bash", str(SCRIPT), "bash", "-c", code, "emjax", WORD]


def test_a_finished_run_is_not_put_back(slurm):
    done = subprocess.run(_command('echo "$1 $SRUN_CPUS_PER_TASK"'), capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"{WORD} 32\n"
    assert _calls(slurm, "scontrol") == []
    (call,) = _calls(slurm, "srun")
    # A task that is still saving must not be ended by one that has saved.
    assert "--kill-on-bad-exit=0" in call and call[-1] == WORD


@pytest.mark.parametrize(("status", "requeued"), [(75, [["requeue", "42"]]), (2, []), (134, [])])
def test_only_an_interrupted_run_is_put_back(slurm, status, requeued):
    done = subprocess.run(_command(f"exit {status}"), capture_output=True)
    assert done.returncode == status and _calls(slurm, "scontrol") == requeued


def test_the_job_outlives_the_signal_that_its_tasks_hear(slurm):
    code = 'trap "sleep 0.3; exit 75" TERM; echo ready; while true; do sleep 0.1; done'
    job = subprocess.Popen(
        _command(code), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert job.stdout.readline() == "ready\n"
    time.sleep(0.1)
    # As Slurm does on preemption: to the shell and to the tasks.
    os.killpg(job.pid, signal.SIGTERM)
    said, _ = job.communicate(timeout=30)
    assert job.returncode == 75 and "back into the queue" in said
    assert _calls(slurm, "scontrol") == [["requeue", "42"]]


def test_refusals(slurm, monkeypatch):
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2 and "give the command" in done.stderr
    monkeypatch.delenv("SLURM_JOB_ID")
    done = subprocess.run(_command("true"), capture_output=True, text=True)
    assert done.returncode == 2 and "submit it with sbatch" in done.stderr
    assert _calls(slurm, "srun") == []


def test_what_is_asked_of_slurm():
    options = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", SCRIPT.read_text(), re.MULTILINE)
    asked = dict(options)
    # sbatch reads options up to the first command alone.
    head = SCRIPT.read_text().partition("set -euo")[0]
    assert head.count("#SBATCH --") == len(options)
    assert asked["ntasks-per-node"] == "1" and int(asked["nodes"]) > 1
    assert asked["requeue"] == "" and asked["open-mode"] == "append"
    # Without 'B:' the tasks hear it; a checkpoint takes less than the time before the end.
    name, seconds = asked["signal"].split("@")
    assert name == "TERM" and int(seconds) >= 60
