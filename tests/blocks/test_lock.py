"""One run on an output at a time, named to the second; nothing stays behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emjax.blocks import lock as lock_module
from emjax.blocks.lock import FolderLock, OutputLock
from emjax.errors import InputError

_HOLDER = """
import sys, time
from emjax.blocks.lock import OutputLock
path, number, parts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with OutputLock(path, "convert", (number, parts)):
    print("held", flush=True)
    time.sleep(60)
"""


def _hold(path: Path, number: int = 0, parts: int = 1) -> subprocess.Popen[str]:
    """Another process that holds a lock."""
    script = path.parent.parent / "hold.py"
    script.write_text(_HOLDER)
    command = [sys.executable, str(script), str(path), str(number), str(parts)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def _end(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs"


def test_a_second_run_is_refused_and_told_of_the_first(folder: Path) -> None:
    path = folder / "out.zarr"
    first = _hold(path)
    with pytest.raises(InputError) as refusal, OutputLock(path, "segment"):
        pass
    message = str(refusal.value)
    words = (str(path), "another run: convert", f"process {first.pid} on ", "out.zarr 0 1`", "wait")
    assert all(word in message for word in words) and "\n" not in message
    # By any name of the folder, but not another output in it.
    (folder / "link").symlink_to(folder)
    with pytest.raises(InputError), OutputLock(folder / "link" / "out.zarr", "segment"):
        pass
    with OutputLock(folder / "other.zarr", "segment"):
        pass
    # The system frees it of a run that is killed.
    _end(first)
    assert (folder / ".out.zarr.lock").exists()
    with OutputLock(path, "segment") as lock:
        assert json.loads(lock.file.read_text())["pid"] == os.getpid()
    assert {file.name for file in folder.iterdir()} == {"link"}


@pytest.mark.parametrize("part", [(0, 1), (1, 2)])
def test_who_holds_it_for_a_moment_refuses_nobody(folder: Path, monkeypatch, part) -> None:
    """As a part that ends does while another begins, and a command that asks whether a run works here."""
    file = (folder / ".a.lock").open("w")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    name_holder, waited = OutputLock._name_holder, []

    def given_back(lock: OutputLock, handle: int) -> str:
        file.close()
        return name_holder(lock, handle)

    monkeypatch.setattr(OutputLock, "_name_holder", given_back)
    monkeypatch.setattr(lock_module.time, "sleep", waited.append)
    with OutputLock(folder / "a", "predict", part):
        assert len(waited) == 1


def test_an_error_gives_it_back(folder: Path) -> None:
    with pytest.raises(KeyError), OutputLock(folder / "a", "segment"):
        raise KeyError
    with OutputLock(folder / "a", "segment"):
        pass
    assert list(folder.iterdir()) == []


def test_parts_share_an_output(folder: Path) -> None:
    path = folder / "out.zarr"
    # What a killed run has left in the file that parts share must not be taken for them.
    _end(_hold(path))
    first, second = _hold(path, 0, 3), _hold(path, 1, 3)
    with OutputLock(path, "predict", (2, 3)) as lock:
        with pytest.raises(InputError, match=f"process {first.pid} .*out.zarr 0 3`"):
            OutputLock(path, "predict", (0, 3)).__enter__()
        with pytest.raises(InputError, match=f"convert, process {first.pid} "):
            OutputLock(path, "predict").__enter__()
        # Nobody deletes an output that others write.
        with pytest.raises(InputError, match=f"process {first.pid} "):
            with lock.without_other_parts():
                pytest.fail("it was entered")
    _end(first)
    with OutputLock(path, "predict", (0, 3)) as lock:
        with pytest.raises(InputError, match=f"process {second.pid} "):
            with lock.without_other_parts():
                pass
    _end(second)
    with OutputLock(path, "predict", (0, 3)) as lock:
        with lock.without_other_parts():
            with pytest.raises(InputError):
                OutputLock(path, "predict", (1, 3)).__enter__()
        with OutputLock(path, "predict", (1, 3)):
            pass
    with OutputLock(path, "predict"):
        pass


def test_a_lock_that_was_deleted_by_its_holder_is_not_taken_for_one(
    folder: Path, monkeypatch
) -> None:
    """Between opening the file and locking it, its holder ends, and a third run makes a new one."""
    path = folder / "out.zarr"
    real, taken = fcntl.flock, []

    def flock(handle: int, kind: int) -> None:
        if not taken:
            taken.append(1)
            (folder / ".out.zarr.lock").unlink()
            taken.append(OutputLock(path, "third"))
            taken[1].__enter__()
        real(handle, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match="another run: third"):
        OutputLock(path, "second").__enter__()
    taken[1].__exit__(None, None, None)


def test_where_there_are_no_locks_the_run_goes_on(folder: Path, monkeypatch, caplog) -> None:
    def flock(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with OutputLock(folder / "a.zarr", "segment"):
        pass
    assert "a.zarr cannot be locked (No locks available)" in caplog.text


def test_remote_outputs_are_not_locked(folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    with OutputLock("gs://bucket/a.zarr", "segment"), OutputLock("gs://bucket/a.zarr", "segment"):
        pass
    assert list(folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file/a.zarr .*give another output"):
        OutputLock(folder / "file" / "a.zarr", "segment").__enter__()


def test_an_output_by_way_of_a_link_has_the_same_lock(folder: Path) -> None:
    (folder / "far").mkdir()
    (folder / "out.zarr").symlink_to(folder / "far" / "real.zarr")
    with OutputLock(folder / "far" / "real.zarr", "convert"):
        with pytest.raises(InputError, match="another run: convert"):
            OutputLock(folder / "out.zarr", "segment").__enter__()


def test_a_work_folder_has_one_too_and_nothing_of_it_stays(folder: Path, monkeypatch) -> None:
    with FolderLock(folder / "runs" / "a", "tune"):
        with pytest.raises(InputError, match="another run: tune, .* or give another --workdir"):
            FolderLock(folder / "runs" / "a", "tune").__enter__()
    assert list(folder.iterdir()) == []
    # Of a mount whose parent cannot be written.
    (folder / "mount").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with FolderLock(folder / "mount", "tune") as lock:
        assert lock.file == folder / "mount" / ".lock"


def test_without_locks_a_process_that_lives_is_believed(folder: Path, monkeypatch) -> None:
    first = _hold(folder / "out.zarr")

    def flock(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(InputError, match=f"convert, process {first.pid} "):
        OutputLock(folder / "out.zarr", "segment").__enter__()
    # Of one that is dead, or that has only its number, nothing is believed.
    signed = json.loads((folder / ".out.zarr.lock").read_text())
    (folder / ".out.zarr.lock").write_text(json.dumps(signed | {"birth": "1"}))
    with OutputLock(folder / "out.zarr", "segment"):
        pass
    (folder / ".out.zarr.lock").write_text(json.dumps(signed))
    _end(first)
    with OutputLock(folder / "out.zarr", "segment"):
        pass
