from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from emjax.errors import InputError
from emjax.parallel import runtime

REPOSITORY = Path(__file__).resolve().parents[2]


def _run(code: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process of its own; what connects to nobody may end it."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | (variables or {})
    command = [sys.executable, "-c", f"from emjax.parallel import runtime; import jax\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setattr(runtime, "expects_others", lambda environment: "")


def test_one_process_needs_nothing(monkeypatch, alone):
    monkeypatch.setattr(jax.distributed, "initialize", lambda **_: pytest.fail("initialised"))
    runtime.initialize()
    runtime.initialize(num_processes=1)
    assert runtime.is_main() and runtime.agree(7) == 7
    runtime.wait_for_all("here")


def test_one_process_takes_no_device():
    done = _run(
        "runtime.initialize()\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())",
        {"COLAB_RELEASE_TAG": "r"},
    )
    # Jobs that compute on the host alone leave the accelerator to others.
    assert done.stdout.strip() == "False", done.stderr


def test_incomplete_flags():
    with pytest.raises(InputError, match="--coordinator, --num_processes and --process_id"):
        runtime.initialize("localhost:1")
    with pytest.raises(InputError, match="--process_id=2 must be in 0 to 1"):
        runtime.initialize("localhost:1", 2, 2)
    for address in ("node1", "node1:port", ":8476", "a:b:1"):
        with pytest.raises(InputError, match="must be HOST:PORT"):
            runtime.initialize(address, 2, 0)


def test_cluster_without_others(monkeypatch):
    def fail(**_: object) -> None:
        raise ValueError("coordinator_address should be defined")

    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(InputError, match="SLURM_STEP_NUM_TASKS=4.*--num_processes=1"):
        runtime.initialize()
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    runtime.initialize()


def test_nobody_there():
    done = _run("runtime.initialize('localhost:1', 2, 1, timeout_s=1)")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("emjax: process 1 of 2 did not meet the others within 1 s: is localhost")


def test_port_in_use():
    with socket.create_server(("", 0)) as taken:
        address = f"localhost:{taken.getsockname()[1]}"
        # Before JAX takes it: its server may end with a segmentation fault.
        with pytest.raises(InputError, match=f"process 0 of 2 cannot use --coordinator={address}"):
            runtime.initialize(address, 2, 0)
    with pytest.raises(InputError, match="give a free port"):
        runtime.initialize("localhost:99999", 2, 0)


def test_a_task_of_slurm_takes_all_gpus_of_its_machine():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    code = (
        "import json\n"
        "from jax._src import xla_bridge\n"
        "runtime.initialize()\n"
        "print(json.dumps([jax.process_count(), xla_bridge.CUDA_VISIBLE_DEVICES.value]))"
    )
    started = []
    for rank in "01":
        variables = {
            "SLURM_JOB_ID": "7",
            "SLURM_NTASKS": "2",
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NODELIST": "localhost",
            # As if each were on a machine of its own.
            "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
            "SLURM_NODEID": rank,
            "SLURM_PROCID": rank,
            "SLURM_LOCALID": "0",
            "JAX_COORDINATOR_PORT": port,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(REPOSITORY),
        }
        command = [sys.executable, "-c", f"from emjax.parallel import runtime; import jax\n{code}"]
        started.append(
            subprocess.Popen(
                command, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
    for process in started:
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert json.loads(out) == [2, "all"]
