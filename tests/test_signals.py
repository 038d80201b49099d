"""What a signal does to the command where none of its work listens, in processes of Python alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from emjax import signals

LISTEN = "import os, signal, sys, time\nfrom emjax import signals\nsignals.end_on_signals()\n"
READY = "print('ready', flush=True)\n"


def ended(code: str, number: int, **options: object) -> subprocess.CompletedProcess:
    """Runs code that says 'ready', sends a signal, and returns how it ended."""
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]
)
def test_one_line_and_75(number: int, name: str) -> None:
    done = ended(f"{LISTEN}{READY}time.sleep(60)", number)
    assert done.returncode == 75
    assert done.stderr == f"emjax: stopped by {name}; the same command goes on\n"


def test_where_no_python_runs_in_the_main_thread() -> None:
    """As in a compiler: `signal` itself would wait until the call returns."""
    code = (
        f"{LISTEN}import ctypes\nlibrary, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        f"library.pthread_mutex_lock(mutex)\n{READY}library.pthread_mutex_lock(mutex)"
    )
    began = time.monotonic()
    assert ended(code, signal.SIGTERM).returncode == 75
    assert time.monotonic() - began < 20


def test_a_handler_of_the_work_takes_its_place() -> None:
    code = (
        f"{LISTEN}old = signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n"
        f"{READY}time.sleep(0.3)\nprint('went on')"
    )
    done = ended(code, signal.SIGTERM)
    assert done.returncode == 0 and "heard" in done.stdout and "went on" in done.stdout


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{LISTEN}{READY}time.sleep(0.3)"
    assert ended(code, signal.SIGINT).returncode == 0


def test_what_is_written_in_the_background_is_finished(tmp_path) -> None:
    code = (
        f"{LISTEN}def write():\n    time.sleep(0.2)\n    open({str(tmp_path / 'saved')!r}, 'w').close()\n"
        f"with signals.finished_first(write):\n    {READY}    time.sleep(60)"
    )
    assert ended(code, signal.SIGTERM).returncode == 75
    assert (tmp_path / "saved").exists()


def test_what_was_held_back_reaches_the_program_that_follows() -> None:
    """As in a restart by `execve`: the signal comes while no handler is there."""
    after = f"{LISTEN}time.sleep(60)"
    code = (
        f"{LISTEN}with signals.held_back():\n    {READY}    time.sleep(0.3)\n"
        f"    os.execv(sys.executable, [sys.executable, '-c', {after!r}])"
    )
    done = ended(code, signal.SIGTERM)
    assert done.returncode == 75 and done.stderr.count("\n") == 1


def test_processes_that_are_started_meanwhile_receive_none() -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTERM); print('lives')"
    with signals.held_back():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "lives\n")


def test_what_the_work_dealt_with_is_not_taken_for_unheard() -> None:
    """The thread may read of a signal only when the work's handler is gone again."""
    code = (
        # It reads late.
        "import os, time\nread = os.read\nos.read = lambda *a: (time.sleep(0.01), read(*a))[1]\n"
        f"{LISTEN}import threading\nheard = threading.Event()\n"
        "for _ in range(20):\n"
        "    old = signals.install({signal.SIGTERM: lambda *_: heard.set()})\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n    heard.wait()\n    heard.clear()\n    signals.restore(old)\n"
        f"{READY}time.sleep(60)"
    )
    done = ended(code, signal.SIGINT)
    assert done.returncode == 75 and "Ctrl-C" in done.stderr and "SIGTERM" not in done.stderr
