"""Public volumes that contain each other: pretraining on one has seen the images that a benchmark tests on.

Names are matched in addresses, since a private copy has no other mark. Which voxels overlap depends on how a copy was
cut, so boxes are the user's to give (`data.exclude`).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Overlap(NamedTuple):
    """A source, the benchmarks cut from it, and a pattern that finds it in an address."""

    source: str
    benchmarks: str
    pattern: str


OVERLAPS = (
    Overlap("FAFB", "CREMI A, B, C and their test volumes", r"fafb"),
    Overlap("Kasthuri15", "SNEMI3D / AC3 / AC4", r"kasthuri"),
    Overlap("MitoEM", "its own train, validation and test sections", r"mito[-_]?em"),
)


def known_overlaps(address: str) -> list[str]:
    """Returns what should be excluded before results on a benchmark are called unseen.

    Args:
        address: of a volume used for pretraining.
    """
    return [
        f"{o.source} contains the images of {o.benchmarks}; exclude them (data.exclude) or call results transductive"
        for o in OVERLAPS
        if re.search(o.pattern, address, re.IGNORECASE)
    ]
