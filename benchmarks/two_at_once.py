"""Two runs at once, of every job: in one folder, and on one output by way of a symbolic link.

    python benchmarks/two_at_once.py [--jobs segment ...] [--workdir runs/two_at_once]

The first run is stopped half way, the second is given, and the first goes on. The second must be refused with exit
status 2 and one line that names the first, which must end as if it had been alone; `view` allows both. Prints a
Markdown table; exit status 1 if anything was otherwise. Linux, and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from drills import file_calls
from drills.file_call_jobs import JOBS, Job

from emjax.runs.default_folder import TAKEN_OVER


def main() -> int:
    """Makes the drill and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--workdir", type=Path, default=Path("runs/two_at_once"))
    arguments = parser.parse_args()
    workdir = arguments.workdir.absolute()
    library = file_calls.loaded(workdir, (JOBS[name] for name in arguments.jobs))
    if isinstance(library, int):
        return library
    print("| job | second in | refused in one line, and the first right |\n|---|---|---|")
    failed = 0
    for name in arguments.jobs:
        short = name.replace(", ", "_").replace(" ", "_")
        drill = file_calls.Drill(workdir / short, library, JOBS[name])
        both = JOBS[name].config.partition(":")[0] in TAKEN_OVER
        right = "both end right: its folder is a record only" if both else "yes"
        for where, command in commands(JOBS[name]).items():
            said = drill.second(command, _link, allowed=both)
            failed += bool(said)
            print(f"| {name} | {where} | {'NO' if said else right} |", flush=True)
            if said:
                print(f"    {' '.join(said.split())}", file=sys.stderr, flush=True)
        os.chdir("/")
    return 1 if failed else 0


def commands(job: Job) -> dict[str, list[str]]:
    """Returns where the second run is given -> its arguments."""
    found = {
        "the same folder": job.command(job.fields),
        "the folder by a link": job.command(job.fields, "link/run"),
    }
    if "output" in job.fields:
        other = {"output": str(job.fields["output"]).replace("work/", "link/")}
        found["another folder, the output by a link"] = job.command(job.fields | other, "other/run")
    return found


def _link() -> None:
    """Makes another name of the folder of the drill's output and run."""
    if not os.path.islink("link"):
        os.symlink("work", "link")


if __name__ == "__main__":
    sys.exit(main())
