"""What only an accelerator shows, in one command within ten minutes: parts in order of value, each with its time limit.

    python benchmarks/gpu.py --output OUT [--minutes 9.5] [--data FOLDER] [--parts runs agreement ...] [--quick]

Each part is a process of its own that writes its numbers as they come. One that fails or outlasts its limit is
recorded, what it had measured stays, and the next part begins; `OUT/gpu.json` and `OUT/gpu.md` are complete after each
of them. `--quick` rehearses all parts on a CPU with tiny networks, two beside each other; its numbers say nothing. It
takes 2 min 20 s on two cores, and 3 min 10 s where no compiled programs are kept from before. What an offline machine
needs besides jax and torch is packed by `pack_gpu.py`. The parts are in `accelerator/parts.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
# Part -> most seconds that it may take, by what it has to compile. The order is that of value: what comes last is left
# out where time runs short.
LIMITS = {
    "runs": 110,
    "agreement": 60,
    "kernels": 60,
    "unet_train": 110,
    "vit_train": 90,
    "unet_infer": 70,
    "vit_infer": 60,
    "shares": 80,
    "predict": 80,
    "trace": 60,
    "mitochondria": 200,
    "neurons": 200,
    "few_labels": 240,
}
# Parts that a rehearsal leaves to the end, as their program is compiled and kept by others.
_KEPT = ("trace", "agreement")
# A part with less time than this would only start.
_LEAST_S = 15
_TAIL = 2000  # characters of a failed part's output that are kept


@dataclasses.dataclass
class Outcome:
    """What came of a part.

    Attributes:
        status: 'done', 'failed', 'over its limit', or 'not begun' where the time was used up.
        seconds: that it took.
        numbers: name -> value and unit, in the order in which they were measured.
        tail: end of its output, unless it is done.
    """

    status: str
    seconds: float = 0.0
    numbers: dict[str, tuple[Any, str]] = dataclasses.field(default_factory=dict)
    tail: str = ""


def main() -> None:
    """Runs the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/gpu"))
    parser.add_argument("--minutes", type=float, default=9.5, help="for all parts together")
    parser.add_argument("--data", type=Path, help="folder with the labelled volumes (parts.py)")
    parser.add_argument("--parts", nargs="+", default=list(LIMITS), choices=list(LIMITS))
    parser.add_argument("--quick", action="store_true", help="rehearsal on a CPU")
    options = parser.parse_args()
    output = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    state = {"command": " ".join(["python", *sys.argv]), "machine": report.machine()}
    common = ["--output", str(output), *(["--quick"] if options.quick else [])]
    common += ["--data", str(options.data.resolve())] if options.data else []
    names = sorted(options.parts, key=_KEPT.__contains__) if options.quick else options.parts
    commands = {name: [sys.executable, "-m", "accelerator.parts", name, *common] for name in names}
    deadline = time.monotonic() + 60 * options.minutes
    # A rehearsal measures nothing: two parts at a time are over sooner, though each takes longer.
    limits = {name: 1.5 * limit for name, limit in LIMITS.items()} if options.quick else LIMITS
    run(commands, limits, output, deadline, state, at_once=2 if options.quick else 1)


def run(
    commands: Mapping[str, Sequence[str]],
    limits: Mapping[str, float],
    output: Path,
    deadline: float,
    state: Mapping[str, Any],
    at_once: int = 1,
) -> dict[str, Outcome]:
    """Runs parts in their order, and writes the results after each.

    Args:
        commands: part -> its command, which appends lines of JSON with `name`, `value`, `unit` to OUTPUT/PART.jsonl.
        limits: part -> most seconds.
        output: folder.
        deadline: on the monotonic clock, for all parts.
        state: what else is written into the JSON.
        at_once: parts that run beside each other. More than one disturbs what they measure.
    """
    waiting, running, written = list(commands), list[_Part](), 0
    found: dict[str, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                left = min(limits[name], deadline - time.monotonic())
                if left > _LEAST_S:
                    running.append(_Part(name, commands[name], left, output))
                else:
                    _show(name, found.setdefault(name, Outcome("not begun")))
            for part in [part for part in running if part.is_over()]:
                running.remove(part)
                _show(part.name, found.setdefault(part.name, part.end()))
            done = {k: found[k] for k in commands if k in found}
            if len(done) > written:
                content = {**state, "parts": {k: dataclasses.asdict(v) for k, v in done.items()}}
                _replace(output / "gpu.json", json.dumps(content, indent=1) + "\n")
                _replace(output / "gpu.md", table(done))
                written = len(done)
            time.sleep(0.1)
    finally:
        for part in running:
            part.end()
    return {name: found[name] for name in commands}


def _show(name: str, outcome: Outcome) -> None:
    print(f"PART {name}: {outcome.status} after {outcome.seconds:.0f} s", flush=True)
    for number, (value, unit) in outcome.numbers.items():
        print(f"NUMBER {name} {number} {show(value)} {unit}", flush=True)
    if outcome.tail:
        print(outcome.tail, flush=True)


def table(found: Mapping[str, Outcome]) -> str:
    """Returns the results as Markdown."""
    lines = ["| part | what | value | unit |", "|---|---|---|---|"]
    for name, outcome in found.items():
        lines.append(f"| {name} | **{outcome.status}** | {outcome.seconds:.0f} | s |")
        lines += [
            f"| | {number} | {show(value)} | {unit} |"
            for number, (value, unit) in outcome.numbers.items()
        ]
    return "\n".join([*lines, ""])


def show(value: Any) -> str:
    """Returns a number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Part:
    """A part that runs, as a process of its own."""

    def __init__(self, name: str, command: Sequence[str], limit_s: float, output: Path) -> None:
        self.name = name
        self._numbers, self._log = output / f"{name}.jsonl", output / f"{name}.log"
        self._numbers.unlink(missing_ok=True)
        paths = [str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
        self._began = time.monotonic()
        self._limit_s = limit_s
        with self._log.open("wb") as file:
            # A session of its own, so that the processes that it starts end with it.
            self._process = subprocess.Popen(
                command,
                cwd=HERE.parent,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )

    def is_over(self) -> bool:
        """Tells whether it has ended, or must."""
        return self._process.poll() is not None or time.monotonic() > self._began + self._limit_s

    def end(self) -> Outcome:
        """Kills what is left of it, and returns what came of it."""
        code = self._process.poll()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        status = "over its limit" if code is None else "failed" if code else "done"
        tail = "" if status == "done" else self._log.read_text(errors="replace")[-_TAIL:]
        return Outcome(status, time.monotonic() - self._began, _read(self._numbers), tail)


def _read(path: Path) -> dict[str, tuple[Any, str]]:
    """Reads the numbers of a part; a last line that a kill has cut is left out."""
    found: dict[str, tuple[Any, str]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[row["name"]] = (row["value"], row["unit"])
    return found


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.partial")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main()
