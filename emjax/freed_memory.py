"""Keeps freed memory in the process, so that the next array of the same size causes no page faults.

The C library returns arrays of 128 KiB and more to the system when they are freed, and gets them again page by page,
which takes nine tenths of the time of copying a crop. Training makes and frees arrays of the same sizes all the time.
"""

from __future__ import annotations

import ctypes
import functools
import platform

# Largest array that glibc takes from its heap, and how many free bytes it keeps at the end of the heap.
_LARGEST_BYTES = 2**25
_KEPT_BYTES = 2**29
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@functools.cache
def keep_freed_memory() -> bool:
    """Asks the C library to keep freed arrays of up to 32 MiB, at most 512 MiB in all; once in a process.

    Returns:
        Whether it will; only glibc can be asked, other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    ask = ctypes.CDLL(None).mallopt
    # Setting only one of the two would switch off glibc's own adjustment of the other.
    return bool(ask(_MMAP_THRESHOLD, _LARGEST_BYTES) and ask(_TRIM_THRESHOLD, _KEPT_BYTES))
