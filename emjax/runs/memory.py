"""Measures the memory that a process holds, and what the machine has left."""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import Any

try:
    _resource: Any = importlib.import_module("resource")
except ImportError:  # Windows
    _resource = None


def peak_rss_bytes() -> int:
    """Returns the most memory (resident set) that this process has held so far, in bytes."""
    if _resource is None:
        return _peak_working_set()
    peak = _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss
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


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of Windows."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("page_faults", ctypes.c_uint32),
        *((f"bytes{number}", ctypes.c_size_t) for number in range(8)),
    ]


def _peak_working_set() -> int:
    """Returns the same on Windows; 0 where the system does not say."""
    kernel = vars(ctypes)["windll"].kernel32
    counters = _Counters()
    counters.size = ctypes.sizeof(counters)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    known = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
    # The first of the sizes.
    return int(counters.bytes0) if known else 0
