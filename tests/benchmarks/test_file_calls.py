"""The drill of file changes in small: a process of its own, since the library must be loaded before all others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
    reason="needs Linux and a C compiler",
)


@pytest.fixture
def file_calls(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from drills import file_calls

    return file_calls


def test_which_calls_are_broken(file_calls) -> None:
    assert file_calls.chosen(3, 0) == [1, 2, 3]
    assert file_calls.chosen(3, 5) == [1, 2, 3]
    assert file_calls.chosen(101, 3) == [1, 51, 101]


def test_the_library_breaks_the_call_that_it_is_told_to(file_calls, tmp_path: Path) -> None:
    library = file_calls.build(tmp_path)
    (tmp_path / "in").mkdir()
    script = (
        "import ctypes, os, sys\n"
        f"library = ctypes.CDLL({str(library)!r})\n"
        f"library.drill_arm({str(tmp_path / 'in')!r}.encode(), ctypes.c_long(int(sys.argv[1])), int(sys.argv[2]))\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "open('outside', 'w').close()\n"
        "os.mkdir('in/a'); os.rmdir('in/a')\n"
        "os.close(os.open('in/b', os.O_CREAT | os.O_WRONLY))\n"
        "os.unlink('in/b')\n"
        "print(library.drill_calls())\n"
    )

    def run(number: int, error: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, str(number), str(error)]
        environment = {"LD_PRELOAD": str(library)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    assert run(0, 0).stdout == "4\n"
    assert run(3, 0).returncode == -9
    full = file_calls.FAULTS["ENOSPC"]
    # Deleting needs no room, making a file does.
    assert "No space left on device: 'in/b'" in run(2, full).stderr
    assert "Input/output error: 'in/a'" in run(2, file_calls.FAULTS["EIO"]).stderr


@pytest.mark.slow
def test_nothing_is_refused_or_wrong_afterwards(tmp_path: Path) -> None:
    script = [sys.executable, str(BENCHMARKS / "file_calls.py"), "--most", "3"]
    script += ["--jobs", "convert, zarr replaced", "evaluate", "--workdir", str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("| 3 | 3 | 3 | 0 |") == 2, (
        done.stdout + done.stderr
    )


@pytest.mark.slow
def test_of_two_runs_the_second_is_refused_and_the_first_ends_right(tmp_path: Path) -> None:
    script = [sys.executable, str(BENCHMARKS / "two_at_once.py"), "--workdir", str(tmp_path)]
    script += ["--jobs", "convert, zarr", "evaluate"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("| yes |") == 5, done.stdout + done.stderr
