"""Drills in which numbers, the loader or the volume fail."""

from __future__ import annotations

import json
import time

import numpy as np
import run_states

from drills.bench import SAVES_AT_RISK, Bench, Row, are_alike, exactly
from drills.runs import VOLUME, recorded_step
from drills.server import Server

# Examples whose loss is NaN: two a step, so these are three steps.
BAD_EXAMPLES, BAD_STEPS = (10, 11, 12, 60), 3
# As `max_bad_steps` of the configuration.
MAX_BAD_STEPS = 20


def not_finite(bench: Bench) -> Row:
    """Some losses are NaN: their steps are left out and counted, also by a run that is killed between them."""
    fault = f"nan={','.join(map(str, BAD_EXAMPLES))}"
    wanted = bench.undisturbed("nan", fault=fault)
    folder, running = bench.under_way("not_finite", fault=fault)
    running.kill()
    at = recorded_step(folder)
    again = bench.commands.start(folder, fault=fault)
    status = again.wait()
    if status:
        return bench.broken("not_finite", again)
    skipped = json.loads((folder / "results.json").read_text())["skipped_steps"]
    finite = all(np.isfinite(value).all() for value in run_states.read_state(folder).values())
    alike, lost = are_alike(folder, wanted), at - again.restored_step()
    few = lost <= SAVES_AT_RISK * bench.commands.save_steps
    return Row(
        "not_finite",
        f"the loss of {BAD_STEPS} steps was NaN (injected); SIGKILL at step {at}",
        f"again: {status}; {skipped} steps were left out and counted",
        str(lost),
        f"{exactly(alike)} (to a run that leaves out the same steps)",
        alike and finite and few and skipped == BAD_STEPS,
    )


def not_finite_for_good(bench: Bench) -> Row:
    """All losses from a step on are NaN."""
    first = bench.commands.num_steps // 3
    bad = range(2 * first, 2 * bench.commands.num_steps)
    folder = bench.folder("not_finite_for_good")
    running = bench.commands.start(folder, fault=f"nan={','.join(map(str, bad))}")
    status, line = running.wait(), running.refusal()
    named = f"{MAX_BAD_STEPS} steps in a row, up to step {first + MAX_BAD_STEPS}" in line
    named &= f"{VOLUME}[" in line and "] at (" in line
    happened = f"the loss of every step from {first + 1} on was NaN (injected)"
    ended = f"{status}: {bench.short(line)}"
    final = "stops with one line"
    return Row("not_finite_for_good", happened, ended, "-", final, status == 2 and named)


def loader_thread(bench: Bench) -> Row:
    """A thread of the loader dies of an error that nobody expects."""
    folder = bench.folder("loader_thread")
    number = bench.commands.num_steps
    running = bench.commands.start(folder, fault=f"memory={number}")
    status, at = running.wait(), recorded_step(folder)
    named = f"MemoryError: injected: no memory for example {number}" in running.said()
    happened = f"a thread that reads crops raised MemoryError (injected), at step {at}"
    ended = f"{status}, with a traceback that ends with the error"
    return bench.go_on("loader_thread", folder, happened, ended, passed=status == 1 and named)


def outage(bench: Bench) -> Row:
    """The server of the volume fails for a while: nobody has to do anything."""
    with Server(bench.commands.workdir) as server:
        folder, running = bench.under_way("outage", volume=server.url)
        server.broken, began = True, time.monotonic()
        # Longer than TensorStore tries by itself, so that the loader has to.
        tried = running.wait_for("trying again")
        server.broken, seconds = False, time.monotonic() - began
        status = running.wait()
    if status:
        return bench.broken("outage", running)
    alike = are_alike(folder, bench.undisturbed())
    warned = f"{server.url}/{VOLUME} cannot be read at" in running.said()
    happened = f"the server of the volume answered 503 for {seconds:.0f} s"
    ended = f"{status}, with a warning that names the volume"
    return Row("outage", happened, ended, "0", exactly(alike), alike and tried and warned)


def outage_for_good(bench: Bench) -> Row:
    """The server of the volume fails until the run gives up."""
    with Server(bench.commands.workdir) as server:
        folder, running = bench.under_way("outage_for_good", volume=server.url)
        server.broken, began = True, time.monotonic()
        status, line = running.wait(), running.refusal()
        server.broken, seconds = False, time.monotonic() - began
        happened = f"the server of the volume answered 503 from step {recorded_step(folder)} on"
        ended = f"{status} after {seconds:.0f} s: {bench.short(line)}"
        named = status == 2 and f"{server.url}/{VOLUME} cannot be read at" in line
        return bench.go_on(
            "outage_for_good", folder, happened, ended, passed=named, volume=server.url
        )
