"""Drills in which the files of a run are lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import run_states

from drills.bench import Bench, Row
from drills.runs import newest_checkpoint, recorded_step

# Of a run and its checkpoints ten times over; the rest is filled up.
SMALL_DISK = "48m"


def deleted(bench: Bench) -> Row:
    """The newest checkpoint is deleted."""
    folder, running = bench.under_way("deleted")
    running.kill()
    gone = newest_checkpoint(folder)
    shutil.rmtree(gone)
    before = int(newest_checkpoint(folder).name)
    happened = f"SIGKILL at step {recorded_step(folder)}, checkpoint {gone.name} deleted"
    return bench.go_on("deleted", folder, happened, before_damage=before)


def truncated(bench: Bench) -> Row:
    """An array file of the newest checkpoint is cut off."""
    folder, running = bench.under_way("truncated")
    running.kill()
    torn = newest_checkpoint(folder)
    before = run_states.checkpoint_steps(folder)[-2]
    file = max((torn / "params/d").iterdir(), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    happened = f"SIGKILL at step {recorded_step(folder)}, an array file of checkpoint {torn.name} cut in half"
    row = bench.go_on("truncated", folder, happened, before_damage=before)
    aside = (folder / "damaged_checkpoints" / torn.name).is_dir()
    ended = f"{row.ended}; a warning names {torn.name}, which is set aside"
    return row._replace(ended=ended, passed=row.passed and aside)


def full_disk(bench: Bench) -> Row:
    """The disk of the run folder fills up while it saves."""
    with _small_disk(bench.commands.workdir / "small_disk") as disk:
        if disk is None:
            why = "skipped: no permission to mount a small disk"
            return Row("full_disk", why, "-", "-", "-", True)
        folder, running = bench.under_way("full_disk", disk / "run")
        ballast = disk / "ballast"
        _fill(ballast)
        status, line, at = running.wait(), running.refusal(), recorded_step(folder)
        again = bench.commands.start(folder)
        still = again.wait()
        passed = status == still == 75 and line and again.refusal()
        ballast.unlink()
        ended = f"{status}: {bench.short(line)}; while it is still full, the same"
        happened = f"from step {at} on, the disk was full"
        return bench.go_on("full_disk", folder, happened, ended, passed=bool(passed))


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass


@contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """A disk of its own, or None where the machine does not let us have one."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
