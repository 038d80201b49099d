"""Memory that is freed stays with the process, so that the next array of its size costs no page faults.

The C library gives arrays of 128 KiB and more back to the system when they are freed, and takes them again page by
page: of a crop that is copied, that is nine tenths of the time. Training makes and frees arrays of the same sizes all
the time.
"""

from __future__ import annotations

import ctypes
import functools
import platform

# The largest that glibc takes from its heap, and how much it keeps at the end of one.
_LARGEST_BYTES = 2**25
_KEPT_BYTES = 2**29
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@functools.cache
def keep_freed_memory() -> bool:
    """Asks the C library to keep freed arrays of up to 32 MiB, at most 512 MiB of them; once for a process.

    Returns:
        Whether it will; only glibc can be asked, and others are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    ask = ctypes.CDLL(None).mallopt
    # Either alone would switch off what glibc does by itself about the other.
    return bool(ask(_MMAP_THRESHOLD, _LARGEST_BYTES) and ask(_TRIM_THRESHOLD, _KEPT_BYTES))
