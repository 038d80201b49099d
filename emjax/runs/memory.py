"""Measures the memory that a process holds, and what the machine has left."""

from __future__ import annotations

import resource
import sys


def peak_rss_bytes() -> int:
    """Returns the most memory (resident set) that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024


def free_memory_bytes() -> int:
    """Returns the memory that is free on this machine, in bytes; very many where the system does not say it."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":", 1) for line in file)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        return 1 << 62
