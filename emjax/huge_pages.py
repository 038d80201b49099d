"""Memory in pages of 2 MiB instead of 4 KiB, where the system gives them to those that ask.

A training step takes gigabytes and gives them back when it is done. Page by page that is a sixth of its time on a CPU.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

_TUNABLES = "GLIBC_TUNABLES"
_HUGE_PAGES = "glibc.malloc.hugetlb"
# The first version of glibc that has it.
_GLIBC = (2, 35)
_KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages(module: str) -> None:
    """Starts this process anew, with a C library that asks for huge pages; it is asked at its start alone.

    The process keeps its number, its command and its environment but for `GLIBC_TUNABLES`, which processes that it
    starts inherit. Nothing is done where huge pages cannot be asked for or come unasked, and where `GLIBC_TUNABLES`
    says something of them already (`glibc.malloc.hugetlb=0`: none).

    Args:
        module: that the process was started to run. One that does other things as well, such as the kernel of a
            notebook that runs the module, is left as it is.
    """
    tunables = os.environ.get(_TUNABLES, "")
    if module not in sys.orig_argv or _HUGE_PAGES in tunables or not _can_be_asked_for():
        return
    asked = ":".join(filter(None, (tunables, f"{_HUGE_PAGES}=1")))
    command = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, command, os.environ | {_TUNABLES: asked})


def _can_be_asked_for() -> bool:
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _GLIBC:
        return False
    return _KERNEL.exists() and "[madvise]" in _KERNEL.read_text()
