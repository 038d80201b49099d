"""The drill of file changes: each call that changes a file is broken once, then the same command is given again.

    python benchmarks/file_calls.py [--jobs 'convert, zarr' ...] [--most 0] [--minutes 0] [--workdir runs/file_calls]

Before the n-th call the process is killed (SIGKILL), or from it on the disk is full (ENOSPC), or that call fails (EIO);
for all n, or for `--most` of them, evenly spread. The second command must end with 0, and its output must be that of a
run that nothing happened to. Prints a Markdown table of all that was tried so far; exit status 1 if anything was
refused or wrong. Linux, and a C compiler.

What was tried is kept in the work folder's `records`, and not tried again; `--minutes` ends it after a time, and the
same command goes on. Delete them to try another version of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from drills import file_calls
from drills.file_call_jobs import JOBS


def main() -> int:
    """Makes the drills and prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=JOBS)
    parser.add_argument("--faults", nargs="+", default=list(file_calls.FAULTS))
    parser.add_argument("--most", type=int, default=0, help="calls broken of a job; 0: all")
    parser.add_argument(
        "--minutes", type=float, default=0, help="ends after so long; 0: at the end"
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/file_calls"))
    arguments = parser.parse_args()
    workdir = arguments.workdir.absolute()
    library = file_calls.loaded(workdir, (JOBS[name] for name in arguments.jobs))
    if isinstance(library, int):
        return library
    end = time.monotonic() + 60 * arguments.minutes if arguments.minutes else float("inf")
    failed, rows = 0, []
    for name in arguments.jobs:
        short = name.replace(", ", "_").replace(" ", "_")
        drill, row = None, Row(name)
        for fault in arguments.faults:
            records = Records(workdir / "records" / f"{short}_{fault}.jsonl")
            while time.monotonic() < end and (number := records.next(arguments.most)):
                drill = drill or file_calls.Drill(workdir / short, library, JOBS[name])
                records.calls = records.calls or drill.calls
                said = drill.break_call(number, file_calls.FAULTS[fault])
                records.add(number, " ".join(said.split()))
            row.add(records)
            for line in records.wrong():
                print(f"{name}, {fault}, {line}", file=sys.stderr, flush=True)
        print(row, file=sys.stderr, flush=True)
        rows.append(str(row))
        failed += row.wrong
        os.chdir("/")
    print(f"| job | calls that change files | {' | '.join(arguments.faults)} | refused or wrong |")
    print("|" + "---|" * (3 + len(arguments.faults)), *rows, sep="\n")
    return 1 if failed else 0


class Row:
    """A line of the table: how many calls of a job were broken by each fault, and how often something was wrong."""

    def __init__(self, name: str) -> None:
        self.wrong, self._name, self._calls, self._counts = 0, name, 0, []

    def add(self, records: Records) -> None:
        """Counts what was tried with one more fault."""
        self._calls = records.calls or self._calls
        tried = len(records.said)
        self._counts.append("all" if tried and tried == records.calls else f"{tried}")
        self.wrong += len(records.wrong())

    def __str__(self) -> str:
        """As Markdown."""
        cells = [self._name, self._calls, *self._counts, self.wrong]
        return f"| {' | '.join(map(str, cells))} |"


class Records:
    """What was tried of one job with one fault, a line of a file for each call.

    Attributes:
        calls: how many calls the job makes; 0 until it is known.
        said: number of a call -> what was wrong, '' if nothing was.
    """

    def __init__(self, file: Path) -> None:
        """Reads the file, if it is there."""
        self._file, self.calls, self.said = file, 0, {}
        for line in file.read_text().splitlines() if file.exists() else ():
            tried = json.loads(line)
            self.calls = tried["calls"]
            self.said[tried["call"]] = tried["wrong"]

    def next(self, most: int) -> int:
        """Returns the number of a call that was not tried, 0 if all were; the first one until `calls` is known."""
        if not self.calls:
            return 1
        return next((n for n in file_calls.chosen(self.calls, most) if n not in self.said), 0)

    def add(self, number: int, wrong: str) -> None:
        """Keeps what a try came to."""
        self.said[number] = wrong
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(json.dumps({"calls": self.calls, "call": number, "wrong": wrong}) + "\n")

    def wrong(self) -> list[str]:
        """Returns the calls after which something was refused or wrong."""
        return [f"call {number}: {said}" for number, said in sorted(self.said.items()) if said]


if __name__ == "__main__":
    sys.exit(main())
