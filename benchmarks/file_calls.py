"""The drill of file changes: each call that changes a file is broken once, then the same command is given again.

    python benchmarks/file_calls.py [--jobs 'convert, zarr' ...] [--most 0] [--workdir runs/file_calls]

Before the n-th call the process is killed (SIGKILL), or from it on the disk is full (ENOSPC), or that call fails (EIO);
for all n, or for `--most` of them, evenly spread. The second command must end with 0, and its output must be that of a
run that nothing happened to. Prints a Markdown table; exit status 1 if anything was refused or wrong. Linux, and a C
compiler.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from drills import file_calls


def main() -> int:
    """Makes the drills and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=list(file_calls.JOBS), choices=file_calls.JOBS)
    parser.add_argument("--faults", nargs="+", default=list(file_calls.FAULTS))
    parser.add_argument("--most", type=int, default=0, help="calls broken of a job; 0: all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/file_calls"))
    arguments = parser.parse_args()
    library = os.environ.get("LD_PRELOAD", "")
    if not library.endswith("file_calls.so"):
        built = file_calls.build(file_calls.temporary())
        if built is None:
            print("no C compiler, or not Linux: the calls cannot be broken")
            return 2
        return file_calls.start_with(built, sys.argv)
    # Imported once, before the process is copied.
    for name in ("convert", "segment", "evaluate", "objects", "tune", "view"):
        __import__(f"emjax.jobs.{name}")
    print(
        "| job | calls | fault | broken | refused or wrong | seconds |\n|---|---|---|---|---|---|"
    )
    failed = 0
    workdir = arguments.workdir.absolute()
    for name in arguments.jobs:
        folder = workdir / name.replace(", ", "_").replace(" ", "_")
        drill = file_calls.Drill(folder, Path(library), file_calls.JOBS[name])
        for fault in arguments.faults:
            began, wrong = time.monotonic(), []
            numbers = file_calls.chosen(drill.calls, arguments.most)
            for number in numbers:
                if said := drill.break_call(number, file_calls.FAULTS[fault]):
                    wrong.append(f"call {number}: {' '.join(said.split())}")
            failed += len(wrong)
            seconds = time.monotonic() - began
            print(
                f"| {name} | {drill.calls} | {fault} | {len(numbers)} | {len(wrong)} | {seconds:.0f} |",
                flush=True,
            )
            for line in wrong[:8]:
                print(f"    {line}", file=sys.stderr, flush=True)
        os.chdir("/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
