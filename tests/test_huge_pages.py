"""A process that starts itself anew with huge pages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emjax import huge_pages

SCRIPT = """
import os, sys
from pathlib import Path
from emjax import huge_pages
huge_pages._KERNEL = Path(sys.argv[1])
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[2:], flush=True)
huge_pages.restart_with_huge_pages("MODULE")
print("end")
"""


def _run(tmp_path, kernel: str, tunables: str = "", module: str = "script.py") -> list[str]:
    """What the script prints; `kernel` is what the kernel says of huge pages."""
    script, enabled = tmp_path / "script.py", tmp_path / "enabled"
    script.write_text(SCRIPT.replace("MODULE", module))
    enabled.write_text(kernel)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": tunables} if tunables else {}
    command = [sys.executable, "-X", "utf8", str(script), str(enabled), "--a b", "é"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


glibc = pytest.mark.skipif(
    not huge_pages._can_be_asked_for(), reason="no huge pages to ask for here"
)


@glibc
def test_the_same_command_starts_anew_once(tmp_path):
    first, second, end = _run(tmp_path, "always [madvise] never\n")
    number, rest = first.split(maxsplit=1)
    assert rest == "None ['--a b', 'é']"
    assert second == f"{number} glibc.malloc.hugetlb=1 ['--a b', 'é']"
    assert end == "end"


@glibc
def test_other_settings_stay(tmp_path):
    lines = _run(tmp_path, "always [madvise] never\n", "glibc.malloc.arena_max=4")
    assert "glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1" in lines[1]


@glibc
@pytest.mark.parametrize(
    ("kernel", "tunables"),
    [
        ("always madvise [never]\n", ""),
        ("[always] madvise never\n", ""),
        ("always [madvise] never\n", "glibc.malloc.hugetlb=0"),
    ],
)
def test_nothing_to_ask_for(tmp_path, kernel, tunables):
    lines = _run(tmp_path, kernel, tunables)
    assert len(lines) == 2 and lines[1] == "end"


@glibc
def test_a_process_that_was_started_for_something_else_goes_on(tmp_path):
    lines = _run(tmp_path, "always [madvise] never\n", module="emjax.main")
    assert len(lines) == 2 and lines[1] == "end"


@pytest.mark.parametrize("version", [("musl", "1.2"), ("glibc", "2.31"), ("", "")])
def test_other_libraries_are_left_alone(monkeypatch, version):
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: version)
    assert not huge_pages._can_be_asked_for()
