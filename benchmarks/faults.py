"""The fault drill: what a training run loses when machines, disks, volumes and numbers fail.

    python benchmarks/faults.py [--drills sigkill full_disk ...] [--kills 30] [--seed 0] [--workdir runs/faults]

Each drill runs the real command with a tiny network, breaks something, gives the same command again, and compares the
final state (parameters, moments, counters, key, position of the loader, and the recorded loss of every step) with that
of a run that nothing happened to. Two faults cannot come from outside of the process and are injected
(`fault_injected.py`). Prints a Markdown table; exit status 1 if a drill did not end as it should.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import run_states
from fault_runs import (
    REPOSITORY,
    TIMEOUT_S,
    Commands,
    Running,
    Server,
    half_saved,
    newest_checkpoint,
    recorded_step,
)

COMPILED = "compiled in"
# After the step was compiled, so that steps and saves are hit; one kill in five comes at any time since the start.
KILL_WITHIN_S = 2.5
EARLY = 0.2
# Steps are made while a checkpoint is being written, and the next save waits for it.
SAVES_AT_RISK = 2
# Sums over two devices are made in another order.
TOLERANCE = 1e-3
SMALL_DISK = "48m"
HEAD = "| drill | what happened | exit status, message | steps lost | final state | passed |\n|---|---|---|---|---|---|"


class Row(NamedTuple):
    """A line of the table."""

    drill: str
    happened: str
    ended: str
    lost: str
    final: str
    passed: bool

    def __str__(self) -> str:
        """As Markdown."""
        cells = [str(cell).replace("|", "/") for cell in self[:-1]]
        return f"| {' | '.join([*cells, 'yes' if self.passed else 'NO'])} |"


class Drills:
    """The drills, by their names; what each needs of an undisturbed run is made once.

    Args:
        commands: that start the runs.
        seed: of what is random.
        kills: of the drill `sigkill`.
    """

    def __init__(self, commands: Commands, seed: int, kills: int) -> None:
        self._commands, self._seed, self._kills = commands, seed, kills
        self._workdir = commands.workdir

    def sigkill(self) -> Row:
        """Kills a run again and again; one that finishes is compared, and another is begun."""
        rng = random.Random(self._seed)
        lost, in_save, finished, alike, startup, folder = [], 0, 0, True, 5.0, self._folder("kill")
        for kill in range(self._kills + 1):
            before = recorded_step(folder)
            whole = run_states.checkpoint_steps(folder)
            last = kill == self._kills
            running = self._commands.start(folder)
            if not last and rng.random() < EARLY:
                _sleep(running, rng.uniform(0, startup))
            elif running.wait_for(COMPILED) and not last:
                startup = time.monotonic() - running.began
                _sleep(running, rng.uniform(0, KILL_WITHIN_S))
            if last or running.process.poll() is not None:
                running.wait()
            running.kill()
            in_save += bool(half_saved(folder))
            if running.restored_step() or whole:
                # A process that was killed before it looked at the checkpoints lost nothing more.
                if "going on from" in running.said():
                    lost.append(before - running.restored_step())
                    alike &= running.restored_step() == whole[-1]
            if running.process.returncode == 0:
                alike &= self._is_same(folder)
                finished += 1
                if not last:
                    shutil.rmtree(folder)
            elif running.process.returncode != -signal.SIGKILL:
                return self._broken("sigkill", running)
        bound = SAVES_AT_RISK * self._commands.save_steps
        happened = (
            f"SIGKILL at {self._kills} random moments, {in_save} of them during a save; "
            f"{finished} runs came to their end"
        )
        passed = alike and finished > 0 and max(lost, default=0) <= bound
        mean = float(np.mean(lost or [0]))
        text = f"{mean:.1f} on average, at most {max(lost, default=0)} (a save every {self._commands.save_steps})"
        return Row("sigkill", happened, "0 in the end", text, _exactly(alike), passed)

    def sigterm(self) -> Row:
        """SIGTERM to the only process, as when a spot machine is taken away."""
        folder, running = self._under_way("sigterm")
        running.signal(signal.SIGTERM)
        status = running.wait()
        at = recorded_step(folder)
        return self._go_on(
            "sigterm", folder, f"SIGTERM at step {at}", str(status), at, passed=status == 75
        )

    def sigterm_two(self) -> Row:
        """SIGTERM to one of two processes."""
        return self._two("sigterm_two", signal.SIGTERM)

    def sigkill_two(self) -> Row:
        """One of two processes vanishes; the launcher ends the other."""
        return self._two("sigkill_two", signal.SIGKILL)

    def deleted(self) -> Row:
        """The newest checkpoint is deleted."""
        folder, running = self._under_way("deleted")
        running.kill()
        at, gone = recorded_step(folder), newest_checkpoint(folder)
        shutil.rmtree(gone)
        happened = f"SIGKILL at step {at}, checkpoint {gone.name} deleted"
        return self._go_on("deleted", folder, happened, "", at, saves=SAVES_AT_RISK + 1)

    def truncated(self) -> Row:
        """An array file of the newest checkpoint is cut off."""
        folder, running = self._under_way("truncated")
        running.kill()
        at, torn = recorded_step(folder), newest_checkpoint(folder)
        file = max((torn / "params/d").iterdir(), key=lambda path: path.stat().st_size)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        happened = f"SIGKILL at step {at}, an array file of checkpoint {torn.name} cut to half"
        row = self._go_on("truncated", folder, happened, "", at, saves=SAVES_AT_RISK + 1)
        logs = sorted((self._workdir / "logs").glob(f"*_{folder.name}.txt"))
        named = f"checkpoint {torn} is damaged and skipped" in logs[-1].read_text()
        return row._replace(
            ended=f"{row.ended}; the damaged one is named and set aside",
            passed=row.passed and named,
        )

    def full_disk(self) -> Row:
        """The disk of the run folder fills up while it saves."""
        with _small_disk(self._workdir / "small_disk") as disk:
            if disk is None:
                return Row(
                    "full_disk", "skipped: no permission to mount a small disk", "", "", "", True
                )
            folder, running = self._under_way("full_disk", disk / "run")
            ballast = disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            status = running.wait()
            at, line = recorded_step(folder), running.refusal()
            again = self._commands.start(folder)
            status_again = again.wait()
            ballast.unlink()
            ended = (
                f"{status}: {_short(line, self._workdir)}; while it is full, again {status_again}"
            )
            ok = bool(line and again.refusal()) and status and status_again
            happened = f"the disk was full at step {at}, during a save"
            return self._go_on("full_disk", folder, happened, ended, at, passed=bool(ok))

    def not_finite(self) -> Row:
        """Some losses are NaN: the steps are left out and counted, also across a kill."""
        bad = [40, 41, 42, 60]
        fault = f"nan={','.join(map(str, bad))}"
        wanted = self._undisturbed("nan", fault=fault)
        folder, running = self._under_way("not_finite", fault=fault, at=25)
        running.kill()
        at = recorded_step(folder)
        status = self._commands.start(folder, fault=fault).wait()
        skipped = json.loads((folder / "results.json").read_text())["skipped_steps"]
        finite = all(np.isfinite(v).all() for v in run_states.read_state(folder).values())
        alike = _alike(folder, wanted)
        return Row(
            "not_finite",
            f"the loss of 3 steps was NaN, SIGKILL at step {at}",
            f"{status}; {skipped} steps skipped and counted",
            f"{at - _restored(self._workdir, folder)}",
            f"{_exactly(alike)} (run with the same 3 steps skipped)",
            status == 0 and skipped == 3 and finite and alike,
        )

    def not_finite_for_good(self) -> Row:
        """All losses from a step on are NaN."""
        folder = self._folder("not_finite_for_good")
        last = self._commands.num_steps * 2
        fault = f"nan={','.join(map(str, range(40, last)))}"
        running = self._commands.start(folder, fault=fault)
        status, line = running.wait(), running.refusal()
        named = (
            "not finite in 10 steps in a row" in line
            and f"{self._workdir}/volume.zarr at (" in line
        )
        return Row(
            "not_finite_for_good",
            "the loss of every step from 21 on was NaN",
            f"{status}: {_short(line, self._workdir)}",
            "-",
            "stops with one line",
            status == 2 and named,
        )

    def loader_thread(self) -> Row:
        """A thread of the loader dies of an error that nobody expects."""
        folder = self._folder("loader_thread")
        running = self._commands.start(folder, fault="memory=50")
        status, at = running.wait(), recorded_step(folder)
        named = "no memory for example 50" in running.said()
        happened = f"a thread that reads crops raised MemoryError, at step {at}"
        return self._go_on(
            "loader_thread", folder, happened, f"{status}, the error and its place", at,
            passed=status == 1 and named,
        )  # fmt: skip

    def outage(self) -> Row:
        """The server of the volume answers 503 for a while."""
        with Server(self._workdir) as server:
            folder, running = self._under_way("outage", volume=server.url)
            server.broken = True
            # Longer than TensorStore tries by itself, so that the loader has to.
            tried = running.wait_for("trying again")
            time.sleep(1)
            server.broken = False
            status = running.wait()
        alike = self._is_same(folder)
        warned = (
            f"{running.said().count('trying again')} warnings, {server.refused} requests refused"
        )
        happened = (
            f"the volume's server answered 503 until the loader's own retries began; {warned}"
        )
        return Row(
            "outage", happened, str(status), "0", _exactly(alike), status == 0 and alike and tried
        )

    def outage_for_good(self) -> Row:
        """The server of the volume does not come back before the run gives up."""
        with Server(self._workdir) as server:
            folder, running = self._under_way("outage_for_good", volume=server.url)
            server.broken = True
            began = time.monotonic()
            status, line = running.wait(), running.refusal()
            seconds = time.monotonic() - began
            server.broken = False
            at = recorded_step(folder)
            happened = f"the volume's server answered 503 for good, from step {at} on"
            ended = f"{status} after {seconds:.0f} s: {_short(line, self._workdir)}"
            ok = status == 2 and f"{server.url}/volume.zarr" in line
            return self._go_on(
                "outage_for_good", folder, happened, ended, at, passed=ok, volume=server.url
            )

    def _two(self, name: str, number: signal.Signals) -> Row:
        wanted = self._undisturbed("two", two=True)
        folder = self._folder(name)
        pair = self._commands.start_two(folder)
        _wait_for_step(pair[0], folder, random.Random(f"{self._seed} {name}").randint(8, 30))
        pair[1].signal(number)
        ended = [running.wait() for running in pair]
        at, newest = recorded_step(folder), int(newest_checkpoint(folder).name)
        again = self._commands.start_two(folder)
        statuses = [running.wait() for running in again]
        alike = _alike(folder, wanted)
        one = self._undisturbed("one")
        apart = run_states.distance(run_states.read_state(one), run_states.read_state(folder))
        lost = at - again[0].restored_step()
        right = ended == [75, 75] and lost == 0 if number == signal.SIGTERM else all(ended)
        return Row(
            name,
            f"{number.name} to process 1 of 2 at about step {at}",
            f"{ended[0]} and {ended[1]}; again: {statuses[0]} and {statuses[1]}",
            str(lost),
            f"{_exactly(alike)}; parameters of one process within {apart:.0e}",
            bool(right)
            and statuses == [0, 0]
            and again[0].restored_step() == newest
            and lost <= SAVES_AT_RISK * self._commands.save_steps
            and alike
            and apart <= TOLERANCE,
        )

    def _go_on(
        self,
        name: str,
        folder: Path,
        happened: str,
        ended: str,
        at: int,
        *,
        passed: bool = True,
        saves: int = SAVES_AT_RISK,
        volume: str = "",
    ) -> Row:
        """Gives the same command again and compares what it comes to."""
        running = self._commands.start(folder, volume=volume)
        status = running.wait()
        if status:
            return self._broken(name, running)
        lost = at - running.restored_step()
        alike = self._is_same(folder)
        text = f"{ended}; again: {status}" if ended else f"again: {status}"
        passed = passed and alike and lost <= saves * self._commands.save_steps
        return Row(name, happened, text, str(lost), _exactly(alike), passed)

    def _under_way(
        self, name: str, folder: Path | None = None, at: int = 0, **options: str
    ) -> tuple[Path, Running]:
        """Starts a run, and returns when it has made some steps."""
        folder = folder or self._folder(name)
        running = self._commands.start(folder, **options)
        at = at or random.Random(f"{self._seed} {name}").randint(8, 30)
        _wait_for_step(running, folder, at)
        return folder, running

    def _undisturbed(self, name: str, *, two: bool = False, fault: str = "") -> Path:
        """Returns the folder of a run that nothing happened to."""
        folder = self._workdir / f"undisturbed_{name}"
        if not (folder / "results.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            if two:
                runs = self._commands.start_two(folder)
            else:
                runs = [self._commands.start(folder, fault=fault)]
            for running in runs:
                if running.wait():
                    raise RuntimeError(f"an undisturbed run failed:\n{running.said()[-3000:]}")
        return folder

    def _is_same(self, folder: Path) -> bool:
        return _alike(folder, self._undisturbed("one"))

    def _folder(self, name: str) -> Path:
        folder = self._workdir / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def _broken(self, name: str, running: Running) -> Row:
        sys.stderr.write(running.said()[-3000:])
        status = running.process.returncode
        return Row(name, "the same command did not go on", str(status), "?", "?", False)


NAMES = [name for name, value in vars(Drills).items() if callable(value) and name[0] != "_"]


def main() -> int:
    """Runs the drills and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drills", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60, help="of a run")
    parser.add_argument("--workdir", type=Path, default=Path("runs/faults"))
    arguments = parser.parse_args()
    import jax

    # To read the results.
    jax.config.update("jax_platforms", "cpu")
    commands = Commands(arguments.workdir, arguments.steps, save_steps=3)
    commands.make_volume()
    drills = Drills(commands, arguments.seed, arguments.kills)
    print(f"seed {arguments.seed}, {arguments.steps} steps, a save every 3\n\n{HEAD}", flush=True)
    failed = 0
    for name in arguments.drills:
        drill: Callable[[], Row] = getattr(drills, name)
        row = drill()
        failed += not row.passed
        print(row, flush=True)
    print(f"\n{failed or 'no'} drill{'s' * (failed != 1)} did not end as it should")
    return 1 if failed else 0


def _wait_for_step(running: Running, folder: Path, step: int) -> None:
    end = time.monotonic() + TIMEOUT_S
    while recorded_step(folder) < step:
        if running.process.poll() is not None or time.monotonic() > end:
            running.kill()
            raise RuntimeError(f"no step {step} was reached:\n{running.said()[-3000:]}")
        time.sleep(0.02)


def _sleep(running: Running, seconds: float) -> None:
    """Waits, or until the process ends."""
    try:
        running.process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def _alike(folder: Path, wanted: Path) -> bool:
    """Whether two runs ended with the same state and the same record, to the last bit."""
    losses = [run_states.read_losses(path) for path in (folder, wanted)]
    return run_states.same(
        run_states.read_state(folder), run_states.read_state(wanted)
    ) and np.array_equal(*losses, equal_nan=True)


def _restored(workdir: Path, folder: Path) -> int:
    log = sorted((workdir / "logs").glob(f"*_{folder.name}.txt"))[-1]
    return int(log.read_text().split("going on from ")[1].split()[0].rpartition("/")[2])


def _exactly(alike: bool) -> str:
    return "equal to the last bit" if alike else "DIFFERENT"


def _short(line: str, workdir: Path) -> str:
    """Shows a message without the folder that the drill ran in, and not all crops of a batch."""
    line = line.replace(f"{workdir}/", "").replace(f"{REPOSITORY}/", "")
    return f"`{line}`" if line else "NO LINE"


@contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


if __name__ == "__main__":
    sys.exit(main())
