"""The same pretraining on every mesh, and in one, two and four processes: how far do the results lie apart?

    python benchmarks/meshes.py [--models unet vit] [--workdir runs/meshes]

20 steps of a tiny network on virtual CPU devices, each run in processes of its own, all with the examples, the
initialisation and the keys of the run on one device. Prints a Markdown table; exit status 1 if a run saw other
examples, or lies further from the run on one device than the tolerance.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

REPOSITORY = Path(__file__).resolve().parents[1]
# The tests train the same networks.
sys.path.insert(0, str(REPOSITORY / "tests" / "train"))

import run_states  # noqa: E402

WORKER = REPOSITORY / "tests" / "train" / "pretraining_worker.py"
TIMEOUT_S = 900


class Layout(NamedTuple):
    """Which devices share a run, and who holds them.

    Attributes:
        mesh: sizes of data, fsdp and spatial.
        processes: that hold the devices of the mesh, evenly.
    """

    mesh: tuple[int, int, int]
    processes: int = 1


ONE = Layout((1, 1, 1))
LAYOUTS = [Layout(mesh) for mesh in [(8, 1, 1), (2, 2, 2), (1, 8, 1), (1, 1, 4)]]
LAYOUTS += [Layout((2, 2, 1), processes) for processes in (1, 2, 4)]
# How far the parameters may lie apart, as a part of their length; that of the losses is the tests' own.
PARAMETERS_TOLERANCE = 1e-3
HEAD = """
| network | data x fsdp x spatial | processes | same examples | loss, step 1 | loss, all steps | parameters | s |
|---|---|---|---|---|---|---|---|"""


class Outcome(NamedTuple):
    """What a run came to; all arrays are on the host.

    Attributes:
        losses: `[steps]`.
        state: as `run_states.read_state`.
        examples: `[steps, batch]`, numbers of the examples of each global batch.
        seconds: from the start of its processes to their end.
    """

    losses: np.ndarray
    state: run_states.State
    examples: np.ndarray
    seconds: float


class Distance(NamedTuple):
    """How far a run lies from that on one device, relative."""

    first: float
    losses: float
    parameters: float


def main() -> int:
    """Trains on all layouts and prints the table; returns the exit status."""
    # Only now: they import jax.
    import jax
    import pretraining

    # To read the results, of which orbax says at each item that it is not a whole checkpoint.
    jax.config.update("jax_platforms", "cpu")
    logging.set_verbosity(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = list(pretraining.MODELS)
    parser.add_argument("--models", nargs="+", default=known, choices=known)
    parser.add_argument("--workdir", type=Path, default=Path("runs/meshes"))
    arguments = parser.parse_args()
    tolerance = Distance(pretraining.FIRST_TOLERANCE, pretraining.TOLERANCE, PARAMETERS_TOLERANCE)
    failed = 0
    print(HEAD, flush=True)
    for model in arguments.models:
        one = train(model, ONE, arguments.workdir)
        if len(one.losses) != pretraining.STEPS:
            raise RuntimeError(f"{len(one.losses)} steps were recorded of {pretraining.STEPS}")
        for layout in [ONE, *LAYOUTS]:
            found = one if layout is ONE else train(model, layout, arguments.workdir)
            alike = np.array_equal(found.examples, one.examples)
            apart = compare(found, one)
            failed += not (alike and is_within(apart, tolerance))
            print(line(model, layout, alike, apart, found.seconds), flush=True)
    limits = f"{tolerance.first:g} (step 1), {tolerance.losses:g} (all steps), {tolerance.parameters:g} (parameters)"
    print(f"\ntolerance, relative: {limits}; {failed or 'no'} run{'s' * (failed != 1)} outside")
    return 1 if failed else 0


def train(model: str, layout: Layout, workdir: Path) -> Outcome:
    """Trains in processes of their own, from the beginning.

    Raises:
        RuntimeError: if one of them fails, with what it said.
    """
    name = f"{model}_{'x'.join(map(str, layout.mesh))}_{layout.processes}"
    folder = workdir.absolute() / name
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, str(WORKER), str(folder), f"--model={model}"]
    command += [f"--mesh={','.join(map(str, layout.mesh))}", f"--port={_free_port()}"]
    command += [f"--devices={int(np.prod(layout.mesh)) // layout.processes}"]
    command += [f"--processes={layout.processes}"]
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            [*command, f"--process={number}"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(layout.processes)
    ]
    try:
        said = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, said, strict=True):
        if process.returncode:
            raise RuntimeError(f"{name} failed:\n{errors[-3000:]}")
    seconds = time.monotonic() - began
    # Before the examples come the words of the library that joins the processes.
    examples = np.concatenate([json.loads(out.splitlines()[-1]) for out, _ in said], axis=1)
    return Outcome(run_states.read_losses(folder), run_states.read_state(folder), examples, seconds)


def compare(found: Outcome, one: Outcome) -> Distance:
    """Returns the largest relative differences; infinite where a run lacks steps or has other parameters."""
    if found.losses.shape != one.losses.shape or found.state.keys() != one.state.keys():
        return Distance(np.inf, np.inf, np.inf)
    apart = np.abs(found.losses - one.losses) / np.abs(one.losses)
    return Distance(
        float(apart[0]), float(apart.max()), run_states.distance(one.state, found.state)
    )


def is_within(apart: Distance, tolerance: Distance) -> bool:
    """Whether each difference is within its tolerance; one that is not a number is not."""
    return all(a <= b for a, b in zip(apart, tolerance, strict=True))


def line(model: str, layout: Layout, alike: bool, apart: Distance, seconds: float) -> str:
    """Returns a row of the table."""
    mesh = " x ".join(map(str, layout.mesh))
    numbers = ["0" if value == 0 else f"{value:.1e}" for value in apart]
    cells = [model, mesh, str(layout.processes), "yes" if alike else "NO", *numbers]
    return f"| {' | '.join(cells)} | {seconds:.0f} |"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
