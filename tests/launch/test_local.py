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

from ..jobs.running import FEW_DEFECTS

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "launch" / "local.sh"
# A command that says what it was given, and ends with the status of its number.
SAYS = 'echo "$@"; echo "warned" >&2; shift $(($# - 3)); id=${3#--process_id=}; '


def _start(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPT), *arguments],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(*arguments: str, code: str = "") -> tuple[int, list[str], list[str]]:
    command = ["bash", "-c", SAYS + code, "bash"] if code else []
    process = _start(*arguments, *command)
    out, error = process.communicate(timeout=60)
    return process.returncode, sorted(out.splitlines()), sorted(error.splitlines())


def test_every_process_knows_its_number_and_the_coordinator():
    status, out, error = _run("--processes=3", code='echo "$JAX_PLATFORMS"')
    assert status == 0 and error == ["[0] warned", "[1] warned", "[2] warned"]
    found = [re.fullmatch(r"\[(\d)\] --coordinator=(localhost:\d+) (.*)", line) for line in out]
    found = [match for match in found if match]
    assert len({match[2] for match in found}) == 1
    assert [match[3] for match in found] == [f"--num_processes=3 --process_id={i}" for i in "012"]
    assert [match[1] for match in found] == ["0", "1", "2"] and "[1] cpu" in out


def test_devices_and_words_arrive_unchanged():
    word = '--config.data.volumes=a; b\'s "c" $HOME *\n last'
    code = (
        "import os, sys, json; print(json.dumps([sys.argv[1], os.environ['JAX_NUM_CPU_DEVICES']]))"
    )
    _, out, _ = _run("--processes=1", "--devices=4", "--", sys.executable, "-c", code, word)
    assert json.loads(out[0].removeprefix("[0] ")) == [word, "4"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [((0, 0), 0), ((75, 75), 75), ((0, 75), 75), ((2, 2), 2), ((75, 2), 2)],
)
def test_exit_status(statuses, expected):
    cases = "; ".join(f"{i}) exit {status};;" for i, status in enumerate(statuses))
    status, _, _ = _run("--processes=2", code=f"case $id in {cases} esac".replace(";;;", ";;"))
    assert status == expected


def test_a_failure_ends_the_others():
    began = time.monotonic()
    code = 'if ((id == 1)); then exit 3; fi; trap "" TERM; sleep 100 & wait; sleep 100'
    status, _, _ = _run("--processes=2", "--grace_s=1", code=code)
    # The one that failed first, not the one that was killed because of it.
    assert status == 3 and time.monotonic() - began < 30


def test_a_signal_lets_all_save():
    code = 'trap "echo saving; exit 75" TERM; echo ready; while true; do sleep 0.1; done'
    process = _start("--processes=2", "bash", "-c", code)
    assert {process.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75 and sorted(out.splitlines()) == ["[0] saving", "[1] saving"]


# Runs a command in a terminal of its own, and types Ctrl-C once both processes are ready.
TERMINAL = r"""
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while said.count(b"] ready") < 2:
    said += os.read(terminal, 1000)
os.write(terminal, b"\x03")
try:
    while chunk := os.read(terminal, 1000):
        said += chunk
except OSError:  # Linux says so that the other end is closed.
    pass
print(said.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_ctrl_c_in_a_terminal_lets_all_save():
    code = 'trap "echo saving; exit 75" TERM; trap "exit 9" INT; echo ready; '
    code += "while true; do sleep 0.1; done"
    command = [sys.executable, "-c", TERMINAL, str(SCRIPT), "--processes=2", "bash", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 75, done.stdout + done.stderr
    assert done.stdout.count("saving") == 2


def test_a_second_signal_kills():
    code = 'trap "" TERM; echo ready; while true; do sleep 0.1; done'
    process = _start("--processes=2", "bash", "-c", code)
    assert {process.stdout.readline() for _ in range(2)} == {"[0] ready\n", "[1] ready\n"}
    process.terminate()
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--processes=0", "true"), "'0' must be a whole number above 0"),
        (("--process=2", "true"), "unknown option --process=2"),
        (("--processes=2",), "give the command"),
    ],
)
def test_refusals(arguments, message):
    status, _, error = _run(*arguments)
    assert status == 2 and len(error) == 1 and message in error[0]


# One process of the toy training of tests/train, with the flags that every command of emjax understands.
TOY = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import worker
from emjax.logs import set_up_logging
set_up_logging()
flags = dict(word[2:].split("=") for word in sys.argv[3:])
port = flags["coordinator"].removeprefix("localhost:")
sys.exit(worker.main(pathlib.Path(sys.argv[2]), port, int(flags["process_id"]), -1))
"""


@pytest.mark.slow
def test_a_training_is_interrupted_and_goes_on(tmp_path):
    train = REPOSITORY / "tests" / "train"
    command = ["--processes=2", sys.executable, "-c", TOY, str(train), str(tmp_path)]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    process = _start(*command, environment=environment)
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("[0]") and "compiling the step" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=200)
    assert process.returncode == 75, "".join(said) + rest
    (step,) = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert 0 < step < 200
    process = _start(*command, environment=environment)
    _, rest = process.communicate(timeout=200)
    assert process.returncode == 0 and "going on from" in rest, rest
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len([loss for line in lines for loss in json.loads(line).get("losses", [])]) == 200


@pytest.mark.slow
def test_two_processes_pretrain(tmp_path):
    command = [sys.executable, "-m", "emjax.main", "--config", "configs/pretrain.py:smoke"]
    command += ["--workdir", str(tmp_path / "run"), "--config.num_steps=2"]
    command += ["--config.eval.every_steps=1", "--config.save.every_steps=2"]
    command += ["--config.data.batch_size=2", "--config.eval.crops=2", "--config.eval.queries=12"]
    command += ["--config.eval.distractors=7", "--config.model.widths=4,8"]
    command += ["--config.loss.levels=0", "--config.data.crop_size=4,32,32"]
    command += ["--config.augment.max_offset=1,8,8", "--config.eval.exclusion_radius=1,4,4"]
    command += [f"--config.{name}={value}" for name, value in FEW_DEFECTS.items()]
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    process = _start("--processes=2", *command, environment=environment)
    out, error = process.communicate(timeout=580)
    assert process.returncode == 0, error
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == 2 and "retrieval_top1" in results
    assert (tmp_path / "run" / "plots" / "crops.png").is_file()
    assert any((tmp_path / "compiled").iterdir())
    # Text is written, and said, by process 0 alone.
    assert out.count("[0] results ") == 1 and "[1] results" not in out
