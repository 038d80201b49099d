"""Measures the memory that a process holds."""

from __future__ import annotations

import resource
import sys


def peak_rss_bytes() -> int:
    """Returns the most memory (resident set) that this process has held so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024
