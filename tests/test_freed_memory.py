"""Arrays that come and go cost no page faults once freed memory is kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from emjax import freed_memory

COUNT = """
import resource, sys
import numpy as np
from emjax.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    for _ in range(20):
        [np.ones(2**20, np.uint8) for _ in range(8)]
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    command = [sys.executable, "-c", COUNT, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_arrays_are_not_faulted_in_again():
    assert _faults("leave") > 10_000
    assert _faults("keep") < 1_000


def test_other_libraries_are_left_alone(monkeypatch):
    freed_memory.keep_freed_memory.cache_clear()
    monkeypatch.setattr(freed_memory.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert freed_memory.keep_freed_memory() is False
    freed_memory.keep_freed_memory.cache_clear()
