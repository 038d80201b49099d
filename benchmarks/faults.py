"""The fault drill: what a training run loses when machines, disks, volumes and numbers fail.

    python benchmarks/faults.py [--drills sigkill full_disk ...] [--kills 30] [--signals 40] [--workdir runs/faults]

Each drill runs the real command with a tiny network, breaks something, gives the same command again, and compares the
final state (parameters, moments, counters, key, position of the loader, and the recorded loss of every step) with that
of a run that nothing happened to. Faults that cannot come from outside of the process are injected. Prints a Markdown
table; exit status 1 if a drill did not end as it should.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from absl import logging
from drills import data, files, processes
from drills.bench import HEAD, Bench, Row
from drills.runs import Commands

DRILLS: dict[str, Callable[[Bench], Row]] = {
    "sigkill": processes.sigkill,
    "sigterm": processes.sigterm,
    "sigterm_early": processes.sigterm_early,
    "sigterm_any": lambda bench: processes.before_first_step(bench, signal.SIGTERM),
    "sigint_any": lambda bench: processes.before_first_step(bench, signal.SIGINT),
    "sigterm_two": processes.sigterm_two,
    "sigkill_two": processes.sigkill_two,
    "deleted": files.deleted,
    "truncated": files.truncated,
    "full_disk": files.full_disk,
    "not_finite": data.not_finite,
    "not_finite_for_good": data.not_finite_for_good,
    "loader_thread": data.loader_thread,
    "outage": data.outage,
    "outage_for_good": data.outage_for_good,
}
SAVE_STEPS = 3


def main() -> int:
    """Makes the drills and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drills", nargs="+", default=list(DRILLS), choices=DRILLS)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60, help="of a run, 60 or more")
    parser.add_argument("--workdir", type=Path, default=Path("runs/faults"))
    arguments = parser.parse_args()
    import jax

    # To read the results, of which orbax says at each item that it is not a whole checkpoint.
    jax.config.update("jax_platforms", "cpu")
    logging.set_verbosity(logging.ERROR)
    # A process that is started in the background may ignore Ctrl-C, and so would those that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What it started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    commands = Commands(arguments.workdir, arguments.steps, SAVE_STEPS)
    commands.make_volume()
    bench = Bench(commands, arguments.seed, arguments.kills, arguments.signals)
    print(f"seed {arguments.seed}, {arguments.steps} steps, a save every {SAVE_STEPS}\n\n{HEAD}")
    began, failed = time.monotonic(), []
    try:
        for name in arguments.drills:
            row = DRILLS[name](bench)
            print(row, flush=True)
            failed += [] if row.passed else [name]
    finally:
        commands.end()
    end = f"not as it should be: {', '.join(failed)}" if failed else "all as it should be"
    print(f"\n{end}; {(time.monotonic() - began) / 60:.1f} min")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
