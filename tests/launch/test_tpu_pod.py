from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "launch" / "tpu_pod.sh"
FAKE = Path(__file__).with_name("fake_gcloud.py")
VOLUMES = (
    '--config.data.volumes=gs://b/a.zarr?voxel_nm=30,6,6; it\'s "quoted" $HOME `id`\n  \\last & *'
)
COMMAND = ("python", "-m", "emjax.main", "--config", "configs/pretrain.py:ours")
COMMAND += ("--workdir", "gs://b/runs", VOLUMES)
AT = ["--zone=us-west4-a"]
SSH = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "pod", *AT, "--quiet"]
DESCRIBE = ["gcloud", "compute", "tpus", "queued-resources", "describe", "pod", *AT]
DESCRIBE += ["--format=value(state.state)"]
CREATE = ["gcloud", "compute", "tpus", "queued-resources", "create", "pod", *AT, "--quiet"]
CREATE += ["--node-id=pod", "--accelerator-type=v5litepod-64"]
CREATE += ["--runtime-version=v2-alpha-tpuv5-lite", "--spot"]
DELETE = ["gcloud", "compute", "tpus", "queued-resources", "delete", "pod", *AT]
DELETE += ["--quiet", "--force"]


def _run(
    subcommand: str, *options: str, command: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    arguments = [str(SCRIPT), subcommand, "--name=pod", *AT, *options]
    arguments += ["--", *command] if command else []
    return subprocess.run(
        arguments, env=os.environ | environment, capture_output=True, text=True, timeout=60
    )


def _dry(subcommand: str, *options: str) -> list[list[str]]:
    """Commands that would be run, each as a shell reads it."""
    command = COMMAND[:-1] if subcommand in ("run", "resume") else ()
    done = _run(subcommand, "--dry_run", *options, command=command)
    assert done.returncode == 0 and done.stderr == ""
    return [shlex.split(line) for line in done.stdout.splitlines()]


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """A cloud of two machines, without the network: pip and uv only say what they would install."""
    folder = tmp_path / "cloud"
    (folder / "bin").mkdir(parents=True)
    for i in range(2):
        (folder / f"worker{i}").mkdir()
    (folder / "states").write_text("ACTIVE\n")
    _write_program(folder / "bin" / "gcloud", f'exec {sys.executable} {FAKE} "$@"')
    uv = (
        'echo "uv $*" >>~/installed; if [ "$1" = venv ]; then mkdir -p ~/emjax-venv/bin; '
        "cp ~/python ~/emjax-venv/bin/python; fi"
    )
    make_uv = (
        f"mkdir -p ~/.local/bin; printf '%s\\n' '#!/bin/sh' {shlex.quote(uv)} >~/.local/bin/uv"
    )
    _write_program(
        folder / "bin" / "python3",
        f'echo "python3 $*" >>~/installed; {make_uv}; chmod +x ~/.local/bin/uv',
    )
    for home in folder.glob("worker*"):
        # What `python` of a machine does: it notes what it was given, and ends as the test says.
        _write_program(
            home / "python",
            f'[ "$1" = -c ] || exec {sys.executable} -c \'import json, os, sys, time\n'
            'home = os.environ["HOME"]\n'
            'open(f"{home}/given", "a").write(json.dumps(sys.argv[1:]) + chr(10))\n'
            'outcome = open(f"{home}/outcome").read().split()\n'
            'open(f"{home}/outcome", "w").write(" ".join(outcome[1:]))\n'
            'print("step 1/2", flush=True)\n'
            'time.sleep(100 if outcome[0] == "sleeps" else 0)\n'
            'sys.exit(int(outcome[0]))\' "$@"',
        )
        (home / "outcome").write_text("0")
    monkeypatch.setenv("FAKE_CLOUD", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return folder


def _write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def _calls(cloud: Path) -> list[str]:
    """The verbs that gcloud was asked for."""
    verbs = ("create", "describe", "delete", "scp", "ssh")
    lines = (cloud / "calls").read_text().splitlines()
    return [next(verb for verb in verbs if verb in json.loads(line)) for line in lines]


def _wait_for(path: Path) -> str:
    for _ in range(200):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_dry_run_of_create_and_delete():
    assert _dry("create", "--type=v5litepod-64", "--spot") == [CREATE, DESCRIBE]
    assert _dry("delete") == [DELETE]
    (first, _) = _dry("create", "--type=v6e-16", "--project=p", "--network=n")
    assert first[6:] == [*AT, "--project=p", "--quiet", "--node-id=pod"] + [
        "--accelerator-type=v6e-16",
        "--runtime-version=v2-alpha-tpuv6e",
        "--network=n",
    ]


def test_dry_run_of_install(tmp_path):
    archive = f"{tmp_path}/emjax-pod.tar.gz"
    done = _run("install", "--dry_run", TMPDIR=str(tmp_path))
    first, second, third = (shlex.split(line) for line in done.stdout.splitlines())
    assert first == ["git", "-C", str(REPOSITORY), "archive", "--format=tar.gz"] + [
        f"--output={archive}",
        "HEAD",
    ]
    scp = ["gcloud", "compute", "tpus", "tpu-vm", "scp", archive, "pod:emjax.tar.gz", *AT]
    assert second == [*scp, "--quiet", "--worker=all"]
    assert third[:-1] == [*SSH, "--worker=all"]
    assert "--python 3.12" in third[-1] and '-e "$HOME/emjax[tpu]"' in third[-1]


def test_dry_run_of_the_rest():
    ((*ssh, command),) = _dry("run")
    assert ssh == [*SSH, "--worker=all"]
    assert shlex.join(COMMAND[:-1]) in command and command.endswith("& echo $! >pid")
    tail = "--command=tail -n 100 -F ~/emjax-run/log"
    assert _dry("tail", "--worker=3") == [[*SSH, "--worker=3", tail]]
    first, (*ssh, command) = _dry("status")
    assert first == DESCRIBE and ssh == [*SSH, "--worker=all"] and "cat status" in command
    ((*ssh, command),) = _dry("stop")
    assert ssh == [*SSH, "--worker=all"] and "pkill -TERM" in command


def test_dry_run_of_resume():
    options = ("--type=v5litepod-64", "--spot")
    found = _dry("resume", *options)
    assert found[:4] == [DESCRIBE, DELETE, CREATE, DESCRIBE]
    assert found[4:7] == _dry("install")
    assert [found[7], found[8]] == [*_dry("stop"), *_dry("run")]
    assert found[9][:-1] == [*SSH, "--worker=0"] and len(found) == 10


def test_install_run_and_status_on_all_machines(cloud):
    assert _run("install").returncode == 0
    for home in cloud.glob("worker*"):
        assert (home / "emjax" / "setup.py").is_file()
        said = (home / "installed").read_text().splitlines()
        assert said == [
            "python3 -m pip install --quiet --user uv",
            f"uv venv --python 3.12 {home}/emjax-venv",
            f"uv pip install --quiet --python {home}/emjax-venv/bin/python -e {home}/emjax[tpu]",
        ]
    assert _run("run", command=COMMAND).returncode == 0
    for home in cloud.glob("worker*"):
        assert _wait_for(home / "emjax-run" / "status") == "0\n"
        # Every word as it was typed, through gcloud, ssh and the shell of the machine.
        assert json.loads((home / "given").read_text()) == list(COMMAND[1:])
    done = _run("status")
    assert done.stdout.splitlines()[0] == "ACTIVE"
    assert done.stdout.count(": 0\nstep 1/2\n") == 2


def test_a_second_run_is_refused_and_stop_lets_the_first_save(cloud):
    for home in cloud.glob("worker*"):
        (home / "outcome").write_text("sleeps 0")
    _run("install")
    assert _run("run", command=COMMAND).returncode == 0
    for home in cloud.glob("worker*"):
        _wait_for(home / "emjax-run" / "log")
    second = _run("run", command=COMMAND)
    assert second.returncode == 3 and second.stderr.count("a run is going on already") == 2
    assert _run("status").stdout.count(": running\n") == 2
    assert _run("stop").returncode == 0
    for home in cloud.glob("worker*"):
        # Python's own handler of SIGTERM, there being no emjax here.
        assert (home / "emjax-run" / "status").read_text() == "143\n"
        assert len((home / "given").read_text().splitlines()) == 1


def test_resume_after_a_preemption(cloud):
    states = ["ACTIVE", "ACTIVE", "SUSPENDING", "SUSPENDED", "ABSENT", "PROVISIONING", "ACTIVE"]
    (cloud / "states").write_text("\n".join(states) + "\n")
    for home in cloud.glob("worker*"):
        (home / "outcome").write_text("sleeps 75 0")
    options = ("--type=v5litepod-64", "--spot", "--poll_s=0")
    done = _run("resume", *options, command=COMMAND)
    assert done.returncode == 0, done.stderr
    given = (cloud / "worker1" / "given").read_text().splitlines()
    # Killed with its machine, then interrupted after saving, then done.
    assert [json.loads(line) for line in given] == [list(COMMAND[1:])] * 3
    calls = _calls(cloud)
    # Asked for again once it was gone, and only then.
    assert calls.count("create") == 1 and calls.count("delete") == 1
    assert calls.index("delete") < calls.index("create")
    assert calls.count("scp") == 2
    assert "pod is SUSPENDED; asking for another" in done.stderr


@pytest.mark.parametrize(("outcomes", "status", "runs"), [("2", 2, 1), ("1 1 1 1 1", 1, 4)])
def test_resume_gives_up(cloud, outcomes, status, runs):
    for home in cloud.glob("worker*"):
        (home / "outcome").write_text(outcomes)
    done = _run("resume", "--type=v6e-8", "--poll_s=0", command=COMMAND)
    assert done.returncode == status
    assert len((cloud / "worker0" / "given").read_text().splitlines()) == runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "--name=pod", *AT], "'start' is none of create, install"),
        (["create", "--name=Pod", *AT, "--type=v6e-8"], "--name='Pod' needs small letters"),
        (["create", "--name=pod", "--type=v6e-8"], "give --zone=ZONE"),
        (["create", "--name=pod", *AT], "give --type=TYPE"),
        (["create", "--name=pod", *AT, "--type=v9-8"], "give its image with --version"),
        (["run", "--name=pod", *AT], "give the command after '--'"),
        (["run", "--name=pod", *AT, "--", "python", "--workdir", "runs/a"], "--workdir gs://"),
        (["run", "--name=pod", *AT, "python"], "unknown option python"),
    ],
)
def test_refusals(arguments, message):
    done = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
