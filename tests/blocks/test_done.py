"""What is marked stays marked, and nothing else is taken for a mark."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks.done import DoneBlocks
from emjax.errors import InputError


@pytest.fixture
def done(tmp_path: Path) -> DoneBlocks:
    done = DoneBlocks(tmp_path / "blocks", "a")
    done.begin()
    return done


def _logs(done: DoneBlocks) -> list[Path]:
    return sorted(Path(done.folder).glob("*.done"))


def test_marks_of_all_processes_are_seen_by_all(done: DoneBlocks) -> None:
    other = DoneBlocks(done.folder, "a")
    done.mark(3)
    other.mark(7, 0)
    done.mark(4)
    assert done.indices() == other.indices() == {0, 3, 4, 7}
    np.testing.assert_array_equal(np.flatnonzero(done.mask(7)), [0, 3, 4])
    # A file for each that marked, however many blocks there are.
    assert sorted(file.read_text() for file in _logs(done)) == ["3\n4\n", "7\n0\n"]


def test_threads_mark_at_once(done: DoneBlocks) -> None:
    threads = [
        threading.Thread(target=lambda n=n: [done.mark(n * 25 + i) for i in range(25)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.indices() == set(range(100)) and len(_logs(done)) == 1


@pytest.mark.parametrize("torn", [b"12", b"1\x00\n", b"\x00\x00\x00", b"-1\n", b"\n", b"1.5\n"])
def test_what_a_kill_or_a_loss_of_power_leaves_is_no_mark(done: DoneBlocks, torn: bytes) -> None:
    done.mark(5)
    with open(_logs(done)[0], "ab") as log:
        log.write(torn)
    assert DoneBlocks(done.folder, "a").indices() == {5}
    # The next process writes nothing behind it.
    DoneBlocks(done.folder, "a").mark(34)
    assert done.indices() == {5, 34}


def test_a_mark_that_did_not_fit_is_none_and_spoils_none(done: DoneBlocks, monkeypatch) -> None:
    real = io.FileIO

    class Full(real):
        """A file on a disk with room for two bytes."""

        def write(self, lines: bytes) -> int:
            if self.tell() >= 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(lines[:2])

    with monkeypatch.context() as patch:
        patch.setattr(io, "FileIO", Full)
        with pytest.raises(OSError, match="No space"):
            done.mark(123)
    assert [file.read_text() for file in _logs(done)] == ["12"]
    done.mark(6)
    assert done.indices() == {6}


def test_beginning_anew_forgets_all(done: DoneBlocks) -> None:
    done.mark(3)
    DoneBlocks(done.folder, "a").mark(4)
    done.begin()
    assert done.indices() == set() and _logs(done) == []
    done.mark(5)
    assert done.indices() == {5}


def test_another_configuration_is_refused(done: DoneBlocks) -> None:
    done.mark(3)
    assert DoneBlocks(done.folder, "a").begun()
    other = DoneBlocks(done.folder, "b")
    with pytest.raises(InputError, match="another configuration.*--workdir.*overwrite"):
        other.begun()
    other.begin()
    assert other.begun() and other.indices() == set()


def test_a_torn_claim_is_no_claim_of_ours(done: DoneBlocks) -> None:
    (done.folder / "identity.json").write_text("{")
    with pytest.raises(InputError, match="another configuration"):
        done.begun()


def test_nothing_is_done_where_nothing_was_begun(tmp_path: Path) -> None:
    done = DoneBlocks(tmp_path / "none", "a")
    assert not done.begun() and done.indices() == set() and not done.mask(3).any()
    done.clear()
    assert not (tmp_path / "none").exists()


def test_a_million_marks_are_read_in_no_time(done: DoneBlocks) -> None:
    done.mark(*range(10**6))
    assert done.mask(10**6).all()


def test_marks_of_other_work_never_count(done: DoneBlocks) -> None:
    """As of a run that was stopped for a while, and whose folder another one has taken since."""
    DoneBlocks(done.folder, "b").mark(1)
    done.mark(2)
    # Of an earlier version, whose files do not say of which work they are.
    (Path(done.folder) / "18f-1234abcd.done").write_text("3\n")
    assert done.indices() == {2, 3}
    assert DoneBlocks(done.folder, "").indices() == {1, 2, 3}
