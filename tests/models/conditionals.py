"""Which conditionals a compiled network may hold: they keep the compiler from joining loops."""

from __future__ import annotations

import re

# Three sums of each channel.
_SUMS = re.compile(r"= \((?:f32\[\d+,1,1,1,\d+\]\S*(?:, )?){3}\) conditional\(")


def check_conditionals(text: str) -> None:
    """Asserts that a program for CPUs holds none but those by which normalizations choose how to sum.

    Each has three sums of channels for its result; with and without them a step takes the same time.
    """
    for line in text.splitlines():
        if "conditional(" in line:
            assert _SUMS.search(line) and "/cond/branch_0_fun/cond" in line, line
