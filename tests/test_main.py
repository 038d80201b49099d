from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from emjax import main
from emjax.errors import InputError
from emjax.parallel import runtime


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command with a job that is given as a function."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "initialize", lambda *_: None)
    (tmp_path / "toy.py").write_text(
        "from emjax.config import base_config\ndef get_config():\n    return base_config('toy')\n"
    )

    def call(run, *arguments):
        monkeypatch.setattr(
            main, "find_job", lambda name: types.SimpleNamespace(run=run, ON_DEVICES=True)
        )
        return main.main(["--config", "toy.py", *arguments])

    return call


def test_dispatch(command):
    calls = []
    assert command(lambda c, w: calls.append((c.seed, w)), "--config.seed=5", "--workdir=d") == 0
    assert calls == [(5, "d")]
    assert command(lambda c, w: 75) == 75


def test_input_error_is_one_line(command, capsys):
    def run(config, workdir):
        raise InputError("the\nvolume is missing")

    assert command(run) == 2
    assert capsys.readouterr().err == "emjax: the volume is missing\n"


def test_other_errors_are_bugs(command):
    def run(config, workdir):
        raise RuntimeError("oh")

    with pytest.raises(RuntimeError):
        command(run)


def test_sigterm_where_no_job_listens(command, capsys):
    def run(config, workdir):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except Exception:
            pytest.fail("no failure of the job's own")

    assert command(run) == 75
    assert capsys.readouterr().err == "emjax: stopped by SIGTERM; the same command goes on\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_listener_of_joined_processes_stays(command, monkeypatch):
    monkeypatch.setattr(runtime, "is_alone", lambda: False)
    handlers = []

    def run(config, workdir):
        handlers.append(signal.getsignal(signal.SIGTERM))

    assert command(run) == 0 and handlers == [signal.SIG_DFL]


def test_sigterm_when_all_is_done_does_not_change_the_status():
    code = (
        "import atexit, os, runpy, signal, sys\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "sys.argv = ['emjax', '--config', 'no_such_file.py']\n"
        "runpy.run_module('emjax.main', run_name='__main__')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2 and "no_such_file" in ended.stderr


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ValueError("zarr: No space left on device")],
)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(command, capsys, error):
    def run(config, workdir):
        raise error

    assert command(run) == 75
    line = capsys.readouterr().err
    assert line.startswith("emjax: disk is full") and line.count("\n") == 1
    assert "run the same command again" in line


def test_nothing_follows_the_line_about_a_full_disk(tmp_path):
    """As a thread and the end of the interpreter would say it again."""
    code = (
        "import atexit, errno, os, runpy, sys, types\n"
        "from emjax import jobs\n"
        "atexit.register(print, 'still full', file=sys.stderr)\n"
        "def run(config, workdir):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), workdir)\n"
        "sys.modules['emjax.jobs.pretrain'] = types.SimpleNamespace(run=run)\n"
        f"sys.argv = ['emjax', '--config', 'configs/pretrain.py:smoke', '--workdir', {str(tmp_path)!r}]\n"
        "runpy.run_module('emjax.main', run_name='__main__')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 75, ended.stderr
    assert ended.stderr.count("\n") == 1 and f"left on device: '{tmp_path}'" in ended.stderr


def test_unknown_job():
    with pytest.raises(InputError, match="config.job='nothing' is not a job"):
        main.find_job("nothing")


def test_jobs_are_what_can_be_run():
    with pytest.raises(InputError) as refusal:
        main.find_job("demo_report")
    listed = str(refusal.value).partition("known: ")[2].split(", ")
    assert set(listed) >= {"pretrain", "finetune", "predict", "segment", "evaluate", "tune", "demo"}
    assert "segment_inputs" not in listed


def test_a_mistake_is_answered_without_jax():
    code = (
        "import sys; from emjax.main import main; status = main(['--config', 'no.py']);"
        "assert not {'jax', 'flax', 'tensorflow'} & sys.modules.keys(); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("emjax: no config file no.py") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--help"], [], ["--config", "configs/view.py", "--print_config"]]
)
def test_a_closed_pipe_ends_no_process_that_only_asks_for_a_help(arguments):
    """In a notebook, or a worker of tests, the next socket that is closed would end it without a word."""
    before = signal.getsignal(signal.SIGPIPE)
    with contextlib.suppress(SystemExit):
        main.main(arguments)
    assert signal.getsignal(signal.SIGPIPE) == before != signal.SIG_DFL
