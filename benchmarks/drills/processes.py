"""Drills in which processes are killed or asked to stop."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import run_states

from drills.bench import SAVES_AT_RISK, Bench, Row, are_alike, exactly
from drills.runs import Running, half_saved, newest_checkpoint, recorded_step

COMPILED = "compiled in"
# After the step was compiled, so that steps and saves are hit.
KILL_WITHIN_S = 2.5
# Part of the kills that come at any time since the start, and of those that come after a SIGTERM, as a machine that is
# taken away too soon does.
EARLY, AFTER_SIGTERM = 0.2, 0.2
GRACE_S = 0.5
# Sums over two devices are made in another order; parameters, relative.
TOLERANCE = 1e-3


def sigkill(bench: Bench) -> Row:
    """Kills a run again and again; one that comes to its end is compared, and another is begun.

    What was counted is kept in the work folder, so that a drill that was itself stopped goes on.
    """
    folder, kept = bench.commands.workdir / "sigkill", bench.commands.workdir / "sigkill.json"
    counted = {"kills": 0, "lost": [], "in_save": 0, "ends": 0, "alike": True, "startup_s": 5.0}
    if kept.exists():
        counted = json.loads(kept.read_text())
    while counted["kills"] <= bench.kills:
        before, whole = recorded_step(folder), run_states.checkpoint_steps(folder)
        running = bench.commands.start(folder)
        last = counted["kills"] == bench.kills
        if not last:
            rng = bench.rng(f"sigkill {counted['kills']}")
            counted["startup_s"] = _kill(running, rng, counted["startup_s"])
        status = running.wait()
        if status not in (0, -signal.SIGKILL):
            return bench.broken("sigkill", running)
        counted["kills"] += 1
        counted["in_save"] += bool(half_saved(folder))
        # One that was killed before it looked for checkpoints tells nothing.
        if whole and "going on from" in running.said():
            counted["lost"].append(before - running.restored_step())
            counted["alike"] &= running.restored_step() == whole[-1]
        if status == 0:
            counted["alike"] &= are_alike(folder, bench.undisturbed())
            counted["ends"] += 1
            shutil.rmtree(folder)
        kept.write_text(json.dumps(counted))
    kept.unlink()
    happened = (
        f"SIGKILL at {bench.kills} random moments, {counted['in_save']} of them during a save"
    )
    most, ends = max(counted["lost"], default=0), counted["ends"]
    text = f"{np.mean(counted['lost'] or 0):.1f} on average, {most} at most"
    final = f"{exactly(counted['alike'])} ({ends} run{'s' * (ends > 1)} came to the end)"
    passed = counted["alike"] and most <= SAVES_AT_RISK * bench.commands.save_steps
    return Row("sigkill", happened, "again: 0", text, final, passed)


def sigterm(bench: Bench) -> Row:
    """SIGTERM to the only process, as when a machine is taken away."""
    folder, running = bench.under_way("sigterm")
    running.signal(signal.SIGTERM)
    status, at = running.wait(), recorded_step(folder)
    saved = int(newest_checkpoint(folder).name) == at
    happened = f"SIGTERM at step {at}"
    return bench.go_on("sigterm", folder, happened, str(status), passed=status == 75 and saved)


def sigterm_early(bench: Bench) -> Row:
    """SIGTERM before the first step."""
    folder = bench.folder("sigterm_early")
    running = bench.commands.start(folder)
    running.wait_for("compiling the step")
    running.signal(signal.SIGTERM)
    status, line = running.wait(), running.refusal()
    ended, right = f"{status}: {bench.short(line)}", status == 75 and bool(line)
    again = bench.commands.start(folder)
    if again.wait():
        return bench.broken("sigterm_early", again)
    alike = are_alike(folder, bench.undisturbed())
    happened = "SIGTERM while the step was compiled"
    return Row(
        "sigterm_early", happened, f"{ended}; again: 0", "0", exactly(alike), alike and right
    )


def before_first_step(bench: Bench, number: signal.Signals) -> Row:
    """Sends a signal at random moments between Python's start and the first step, compiling anew each time.

    What was counted is kept in the work folder, so that a drill that was itself stopped goes on.
    """
    name = f"{number.name.lower()}_any"
    kept = bench.commands.workdir / f"{name}.json"
    tries = json.loads(kept.read_text()) if kept.exists() else []
    startup = 0.0
    while len(tries) < bench.signals:
        if not startup:
            running = bench.commands.start(bench.folder(name), cached=False)
            running.wait_for(COMPILED)
            startup = time.monotonic() - running.began
            running.kill()
        running = bench.commands.start(bench.folder(name), cached=False)
        while not running.listens():
            time.sleep(0.005)
        _sleep(running, bench.rng(f"{name} {len(tries)}").uniform(0, startup))
        running.signal(number)
        began = time.monotonic()
        status = running.wait()
        seconds = time.monotonic() - began
        if COMPILED in running.said():
            # Quicker than the first one: it trained already, so this is no try.
            startup *= 0.9
            continue
        fine = status == 75 and bool(running.refusal())
        if not fine:
            sys.stderr.write(f"{status} after {seconds:.1f} s: {running.said()[-1000:]}\n")
        tries.append([fine, seconds])
        kept.write_text(json.dumps(tries))
    right, took = sum(fine for fine, _ in tries), [seconds for _, seconds in tries]
    happened = f"{number.name} at {len(tries)} random moments before the first step"
    ended = (
        f"{right} times 75 with one line, after {np.mean(took):.2f} s, {max(took):.2f} s at most"
    )
    return Row(name, happened, ended, "-", "-", right == len(tries))


def sigterm_two(bench: Bench) -> Row:
    """SIGTERM to one of two processes: both stop after the same step."""
    return _two(bench, "sigterm_two", signal.SIGTERM)


def sigkill_two(bench: Bench) -> Row:
    """One of two processes vanishes: the other must not wait for ever."""
    return _two(bench, "sigkill_two", signal.SIGKILL)


def _kill(running: Running, rng: random.Random, startup: float) -> float:
    """Kills a process at a random moment; returns how long its start took, or what was given."""
    if rng.random() < EARLY:
        _sleep(running, rng.uniform(0, startup))
    elif running.wait_for(COMPILED):
        startup = time.monotonic() - running.began
        _sleep(running, rng.uniform(0, KILL_WITHIN_S))
        if rng.random() < AFTER_SIGTERM:
            running.signal(signal.SIGTERM)
            _sleep(running, rng.uniform(0, GRACE_S))
    running.kill()
    return startup


def _sleep(running: Running, seconds: float) -> None:
    """Waits, or until the process ends."""
    try:
        running.process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def _two(bench: Bench, name: str, number: signal.Signals) -> Row:
    folder = bench.folder(name)
    pair = bench.commands.start_two(folder)
    bench.wait_for_step(pair[0], folder, name)
    pair[1].signal(number)
    began = time.monotonic()
    ended = [running.wait() for running in pair]
    seconds = time.monotonic() - began
    at, newest = recorded_step(folder), int(newest_checkpoint(folder).name)
    again = bench.commands.start_two(folder)
    statuses = [running.wait() for running in again]
    if any(statuses):
        return bench.broken(name, again[0] if statuses[0] else again[1])
    restored = again[0].restored_step()
    alike = are_alike(folder, bench.undisturbed("two"))
    states = [run_states.read_state(path) for path in (bench.undisturbed(), folder)]
    apart = run_states.distance(*states)
    passed = alike and apart <= TOLERANCE and restored == newest
    if number == signal.SIGTERM:
        passed &= ended == [75, 75] and restored == at
    else:
        passed &= ended[0] != 0 and at - restored <= SAVES_AT_RISK * bench.commands.save_steps
    return Row(
        name,
        f"{number.name} to process 1 of 2 at about step {at}",
        f"{ended[0]} and {ended[1]} after {seconds:.0f} s; again: {statuses[0]} and {statuses[1]}",
        str(at - restored),
        f"{exactly(alike)}; parameters {apart:.0e} from those of one process",
        bool(passed),
    )
