import os
import subprocess
import sys

import pytest

from emjax.runs import whole_file
from emjax.runs.whole_file import open_whole, rename_synced, write_whole


def test_a_file_is_made_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    for data in (b"one", b"another"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["c.bin"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "c.bin"
    write_whole(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["c.bin"]


def test_a_file_written_in_parts_is_there_at_the_end(tmp_path):
    path = tmp_path / "folder" / "c.bin"
    with open_whole(path) as file:
        file.write(b"one ")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(KeyError), open_whole(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"one two" and os.listdir(path.parent) == ["c.bin"]


def test_a_renamed_file_replaces_another_and_is_on_disk_first(tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"new voxels")
    (tmp_path / "new").write_bytes(b"")
    order = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    rename_synced(tmp_path / "old", tmp_path / "new")
    assert order == ["sync", "rename", "sync"]
    assert os.listdir(tmp_path) == ["new"] and (tmp_path / "new").read_bytes() == b"new voxels"


def test_what_a_killed_process_left_is_deleted_by_the_next_one(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from emjax.runs.whole_file import open_whole\n"
        "with open_whole(sys.argv[1]) as file:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "c.bin")])
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".c.bin.") and left.endswith(".partial")
    system = whole_file._system()
    # One that lives, one of another machine, and one that another program named so, stay.
    others = [f".d.{system}-{os.getppid()}.partial", ".d.00000000-1.partial", ".d.partial"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    write_whole(tmp_path / "e.bin", b"")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "e.bin"])
