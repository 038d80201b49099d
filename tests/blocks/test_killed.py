"""A run on blocks that is killed again and again, or runs out of disk, ends with the same bytes as one that is not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emjax.blocks.done import DoneBlocks

SHAPE, BLOCK = (32, 32, 32), (8, 8, 8)
_RUN = f"""
import dataclasses, functools, sys, time
import numpy as np
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.blocks.run import run_blocks
from emjax.blocks.done import DoneBlocks
from emjax.blocks.output import IDENTITY, open_output, plan_output
from emjax.volumes.create import create_volume, open_created

GRID = Grid(Box((0, 0, 0), {SHAPE}), {BLOCK})

@functools.cache
def open_once(path):
    return open_created(path)

@dataclasses.dataclass(frozen=True)
class Work:
    path: str

    def __call__(self, block):
        time.sleep(0.02)
        noise = np.random.default_rng(block.index).integers(1, 2**60, block.core.size, np.uint64)
        open_once(self.path)[block.core.slices].write(noise).result()

if __name__ == "__main__":
    output, marks, cluster, num_workers = sys.argv[1:]
    done = DoneBlocks(marks, "a")
    plan = plan_output(output, done, overwrite=False, finished=False)
    open_output(output, done, plan, lambda: create_volume(
        output, {SHAPE}, "uint64", None, {{IDENTITY: "a"}}, chunk=(4, 4, 4), shard={BLOCK}))
    summary = run_blocks(GRID, Work(output), done, what="noise", cluster=cluster,
                         num_workers=int(num_workers))
    summary.check(GRID)
    sys.exit(75 if summary.stopped else 0)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    script = tmp_path_factory.mktemp("killed") / "run.py"
    script.write_text(_RUN)
    return script


def _command(script: Path, folder: Path, cluster: str, num_workers: int) -> list[str]:
    paths = [str(folder / "out.zarr"), str(folder / "marks")]
    return [sys.executable, str(script), *paths, cluster, str(num_workers)]


@pytest.fixture(scope="module")
def undisturbed(script, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(_command(script, folder, "", 1), check=True, capture_output=True)
    files = _files(folder / "out.zarr")
    assert len(files) == 64 + 2
    return files


def _files(output: Path) -> dict[str, bytes]:
    files = (path for path in output.rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def _check_marked(folder: Path, undisturbed: dict[str, bytes]) -> int:
    """Every block that is marked is whole; returns how many are."""
    marked = DoneBlocks(folder / "marks", "a").indices()
    for index in marked:
        place = "/".join(map(str, np.unravel_index(index, (4, 4, 4))))
        name = f"0/c/{place}"
        assert (folder / "out.zarr" / name).read_bytes() == undisturbed[name]
    return len(marked)


@pytest.mark.parametrize(
    ("cluster", "num_workers"),
    [("", 1), ("", 3), pytest.param("local", 2, marks=pytest.mark.slow)],
)
def test_killed_five_times_and_started_again(
    script, undisturbed, tmp_path, cluster, num_workers
) -> None:
    rng = random.Random(num_workers)
    command = _command(script, tmp_path, cluster, num_workers)
    marks, counts = DoneBlocks(tmp_path / "marks", "a"), [0]
    for _ in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wanted = counts[-1] + rng.randrange(3, 9)
        end = time.monotonic() + 30
        while len(marks.indices()) < wanted:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.wait()
        counts.append(_check_marked(tmp_path, undisturbed))
        assert counts[-2] < counts[-1] < 64
    subprocess.run(command, check=True, capture_output=True)
    assert _check_marked(tmp_path, undisturbed) == 64
    assert _files(tmp_path / "out.zarr") == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 192 KiB, where the machine lets us have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize(("cluster", "num_workers"), [("", 3), ("local", 2)])
def test_a_disk_that_is_full_in_the_middle(
    script, undisturbed, small_disk, cluster, num_workers
) -> None:
    """The output needs 300 KiB."""
    command = _command(script, small_disk, cluster, num_workers)
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 75, first.stderr
    said = [line for line in first.stderr.splitlines() if "make room" in line]
    assert len(said) == 1 and "no room on the disk for block" in said[0]
    assert "Traceback" not in first.stderr
    done = _check_marked(small_disk, undisturbed)
    assert 10 < done < 64
    # Still full: nothing is lost by trying.
    assert subprocess.run(command, capture_output=True).returncode == 75
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    subprocess.run(command, check=True, capture_output=True)
    assert _check_marked(small_disk, undisturbed) == 64
    assert _files(small_disk / "out.zarr") == undisturbed


def test_a_place_without_permission_is_refused_before_anything_is_computed(
    script, small_disk
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code = (
        "import sys\n"
        "from emjax.errors import InputError\n"
        "from emjax.blocks.lock import OutputLock\n"
        "try:\n    OutputLock(sys.argv[1], 'segment').__enter__()\n"
        "except InputError as error:\n    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", code, str(small_disk / "out.zarr")]
    refusal = subprocess.run(command, capture_output=True, text=True)
    assert refusal.returncode == 1 and "cannot write" in refusal.stderr
    assert "Read-only file system" in refusal.stderr and refusal.stderr.count("\n") == 1
    assert os.listdir(small_disk) == []
