"""What a benchmark says: its options, the machine that it ran on, lines as it goes and a JSON at the end."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timing import Timing, busy_s

# Cores that others use, from which on a machine is not quiet.
_QUIET_CORES = 0.2
# Of all runs together, from which on it can be told what others did meanwhile.
_TELLING_S = 0.5
_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "tensorstore", "grain", "torch", "monai", "zarr")
_PACKAGES += ("h5py", "scipy", "scikit-image", "waterz", "mwatershed", "bioimage-cpp", "numba")


def machine() -> dict[str, Any]:
    """Describes this machine, its software and how busy it is now."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text()
        found = [re.search(rf"{key}\s*: (.*)", text) for key in ("model name", "cpu family")]
        cpu = ", family ".join(match[1] for match in found if match)
        cpu += " with AVX-512" if "avx512f" in text else ""
        cpu += " and AMX" if "amx_bf16" in text else ""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    busy, began = busy_s(), time.perf_counter()
    time.sleep(1.0)
    others = (busy_s() - busy) / (time.perf_counter() - began)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "versions": versions,
        "others_cores": round(others, 2),
        "quiet": others < _QUIET_CORES,
    }


class Report:
    """Collects what a stage measures, prints it as it comes, and writes it as JSON at the end.

    Lines that a script may look for: `RATIO <name> <peer seconds / our seconds>`, above 1 where we are faster, and
    `MEMORY <name> <our peak / the peer's peak>`, below 1 where we need less.
    """

    def __init__(self, stage: str, options: argparse.Namespace) -> None:
        self._path = options.output or Path("runs/benchmarks") / f"{stage}.json"
        self._content: dict[str, Any] = {
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(),
            "timings": {},
            "ratios": {},
            "memory": {},
            "numbers": {},
        }
        state = self._content["machine"]
        note = "" if state["quiet"] else f"; NOT QUIET: others use {state['others_cores']} cores"
        print(
            f"{stage}: {state['cpu']}, {state['cores']} cores, {state['memory_gb']} GB{note}",
            flush=True,
        )

    def add(
        self, case: str, timings: Mapping[str, Timing], work: float = 0, unit: str = ""
    ) -> None:
        """Prints the timings of a case.

        Args:
            case: its name.
            timings: by candidate.
            work: amount of work of a run, for rates.
            unit: of `work`.
        """
        for name, timing in timings.items():
            low, high = timing.quartiles
            rate = f"  {work / timing.median:10.4g} {unit}/s" if work else ""
            # The system counts hundredths of a second: of shorter runs, nothing can be said.
            told = sum(timing.seconds) > _TELLING_S
            others = f"  others {statistics.mean(timing.others):.2f} cores" if told else ""
            print(
                f"TIME {case} {name:24s} {timing.median:9.4g} s  [{low:.4g}, {high:.4g}] n={len(timing.seconds)}{rate}"
                f"  processor {statistics.median(timing.cpu_s):.4g} s"
                f"  setup {timing.setup_s:.1f} s  peak {timing.peak_bytes / 1e9:.2f} GB{others}",
                flush=True,
            )
            row = dataclasses.asdict(timing) | {
                "median_s": timing.median,
                "quartiles_s": (low, high),
            }
            row |= {f"{unit}_per_s": work / timing.median} if work else {}
            self._content["timings"].setdefault(case, {})[name] = row

    def ratio(
        self, name: str, ours: Timing, peers: Mapping[str, Timing], memory: bool = False
    ) -> None:
        """Prints the ratio to the best of the peers, and with `memory` that to the smallest of them."""
        if not peers:
            return
        best = min(peers, key=lambda key: peers[key].median)
        # Of the runs that were next to each other, so that a slow minute does not count for one side only.
        pairs = [b / a for a, b in zip(ours.seconds, peers[best].seconds, strict=False)]
        ratio = peers[best].median / ours.median
        # Where the machine is shared, the fastest runs and, on one core, processor seconds tell most about the code.
        fastest = min(min(peer.seconds) for peer in peers.values()) / min(ours.seconds)
        cpu = min(statistics.median(p.cpu_s) for p in peers.values()) / statistics.median(
            ours.cpu_s
        )
        middle = statistics.median(pairs)
        print(
            f"RATIO {name} {ratio:.3f}  (to {best}; pairs' median {middle:.3f}, fastest runs {fastest:.3f}, "
            f"processor seconds {cpu:.3f})"
        )
        row = {"ratio": ratio, "peer": best, "pairs": pairs, "fastest": fastest, "cpu": cpu}
        self._content["ratios"][name] = row
        if memory:
            least = min(peers, key=lambda key: peers[key].peak_bytes)
            share = ours.peak_bytes / peers[least].peak_bytes
            print(f"MEMORY {name} {share:.3f}  (least peer {least})")
            self._content["memory"][name] = {"ratio": share, "peer": least}
        sys.stdout.flush()

    def number(self, name: str, value: float, unit: str = "") -> None:
        """Prints a number that is not a time."""
        print(f"NUMBER {name} {value:.5g} {unit}", flush=True)
        self._content["numbers"][name] = value

    @property
    def numbers(self) -> dict[str, float]:
        """What `number` was given."""
        return self._content["numbers"]

    def write(self) -> None:
        """Writes the JSON."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._content, indent=1, default=str) + "\n")
        print(f"written to {self._path}")


def options(stage_doc: str, peers: tuple[str, ...] = ()) -> argparse.ArgumentParser:
    """Returns the options that all stages have.

    Args:
        stage_doc: docstring of the stage.
        peers: names that `--peer` takes; 'all' stands for every one.
    """
    parser = argparse.ArgumentParser(description=stage_doc.splitlines()[0])
    if peers:
        parser.add_argument("--peer", default="", choices=("", "all", *peers), help="compare with")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--repeats", type=int, default=0, help="runs of each; 0: the stage's own")
    parser.add_argument("--cores", type=int, default=0, help="that each may use; 0: all")
    parser.add_argument("--output", type=Path, help="JSON; runs/benchmarks/<stage>.json")
    return parser
