"""What the drills share: a run under way, the command again, the run that nothing happened to, a row of the table."""

from __future__ import annotations

import random
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import run_states

from drills.runs import REPOSITORY, TIMEOUT_S, Commands, Running, recorded_step

# Steps go on while a checkpoint is being written, and the next save waits for it: what a kill may cost.
SAVES_AT_RISK = 2


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        drill: its name.
        happened: what was done to the run.
        ended: exit status and message, of the run and of the same command again.
        lost: steps that were made twice, as text.
        final: how the final state compares.
        passed: whether all was as it should be.
    """

    drill: str
    happened: str
    ended: str
    lost: str
    final: str
    passed: bool

    def __str__(self) -> str:
        """As Markdown."""
        cells = [cell.replace("|", "/") for cell in self[:-1]]
        return f"| {' | '.join([*cells, 'yes' if self.passed else 'NO'])} |"


HEAD = "| drill | what happened | exit status, message | steps lost | final state | passed |\n|---|---|---|---|---|---|"


class Bench:
    """Where a drill is made.

    Args:
        commands: that start the runs.
        seed: of what is random.
        kills: of the drill `sigkill`.
        signals: of each of the drills `sigterm_any` and `sigint_any`.
    """

    def __init__(self, commands: Commands, seed: int, kills: int = 0, signals: int = 0) -> None:
        self.commands, self.seed, self.kills, self.signals = commands, seed, kills, signals

    def rng(self, name: str) -> random.Random:
        """Returns the generator of a drill, whichever others are made before it."""
        return random.Random(f"{self.seed} {name}")

    def folder(self, name: str) -> Path:
        """Returns an empty run folder."""
        folder = self.commands.workdir / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def under_way(
        self, name: str, folder: Path | None = None, **options: str
    ) -> tuple[Path, Running]:
        """Starts a run, and returns when it has made some steps."""
        folder = folder or self.folder(name)
        running = self.commands.start(folder, **options)
        self.wait_for_step(running, folder, name)
        return folder, running

    def wait_for_step(self, running: Running, folder: Path, name: str) -> None:
        """Returns when a run has recorded a step drawn for this drill.

        Raises:
            RuntimeError: if it ends before.
        """
        step = self.rng(name).randint(self.commands.num_steps // 6, self.commands.num_steps // 2)
        end = time.monotonic() + TIMEOUT_S
        while recorded_step(folder) < step:
            if running.process.poll() is not None or time.monotonic() > end:
                running.kill()
                raise RuntimeError(f"no step {step} was reached:\n{running.said()[-3000:]}")
            time.sleep(0.02)

    def undisturbed(self, name: str = "one", fault: str = "") -> Path:
        """Returns the folder of a run that nothing happened to; `two` is that of two processes."""
        folder = self.commands.workdir / f"undisturbed_{name}"
        if not (folder / "results.json").exists():
            folder = self.folder(folder.name)
            if name == "two":
                runs = self.commands.start_two(folder)
            else:
                runs = [self.commands.start(folder, fault=fault)]
            for running in runs:
                if running.wait():
                    raise RuntimeError(f"an undisturbed run failed:\n{running.said()[-3000:]}")
        return folder

    def go_on(
        self,
        name: str,
        folder: Path,
        happened: str,
        ended: str = "",
        *,
        passed: bool = True,
        before_damage: int | None = None,
        volume: str = "",
    ) -> Row:
        """Gives the same command again, and compares what it comes to.

        Args:
            name: of the drill.
            folder: of the run.
            happened: for the table.
            ended: likewise, of the process that was disturbed.
            passed: whether all was right so far.
            before_damage: the checkpoint before the one that the drill damaged.
            volume: as `Commands.start`.
        """
        at, whole = recorded_step(folder), run_states.checkpoint_steps(folder)
        running = self.commands.start(folder, volume=volume)
        status, restored = running.wait(), running.restored_step()
        if status:
            return self.broken(name, running)
        lost = at - restored
        newest = whole[-1] if before_damage is None else before_damage
        alike = are_alike(folder, self.undisturbed())
        saves = SAVES_AT_RISK + (before_damage is not None)
        passed = (
            passed and alike and restored == newest and lost <= saves * self.commands.save_steps
        )
        ended = f"{ended}; again: {status}" if ended else f"again: {status}"
        return Row(name, happened, ended, str(lost), exactly(alike), passed)

    def broken(self, name: str, running: Running) -> Row:
        """Returns the row of a run that did not go on; its last words go to stderr."""
        sys.stderr.write(running.said()[-3000:])
        status = str(running.process.returncode)
        return Row(name, "the same command did not go on", status, "?", "?", False)

    def short(self, line: str) -> str:
        """Shows a message without the folders of this machine."""
        line = line.replace(f"{self.commands.workdir}/", "").replace(f"{REPOSITORY}/", "")
        return f"`{line}`" if line else "no line that explains it"


def are_alike(folder: Path, wanted: Path) -> bool:
    """Whether two runs ended with the same state and the same record of losses, to the last bit."""
    losses = [run_states.read_losses(path) for path in (folder, wanted)]
    states = [run_states.read_state(path) for path in (folder, wanted)]
    return run_states.same(*states) and np.array_equal(*losses, equal_nan=True)


def exactly(alike: bool) -> str:
    """Says it for the table."""
    return "equal to the last bit" if alike else "DIFFERENT"
