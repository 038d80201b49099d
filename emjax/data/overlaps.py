"""Public volumes that contain each other, so that pretraining on one may use images that a benchmark tests on.

They are recognized by names in addresses, since private copies can be recognized by nothing else. Which voxels overlap
depends on how a copy was cut, so the user has to give the boxes (`data.exclude`).
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Overlap(NamedTuple):
    """A source, the benchmarks that were cut from it, and a pattern that recognizes the source in an address."""

    source: str
    benchmarks: str
    pattern: str


OVERLAPS = (
    Overlap("FAFB", "CREMI A, B, C and their test volumes", r"fafb"),
    Overlap("Kasthuri15", "SNEMI3D / AC3 / AC4", r"kasthuri"),
    Overlap("MitoEM", "its own train, validation and test sections", r"mito[-_]?em"),
)


def known_overlaps(address: str) -> list[str]:
    """Returns notes on what to exclude, lest results on a benchmark come from images that were trained on.

    Args:
        address: address of a volume used for pretraining.
    """
    return [
        f"{o.source} contains the images of {o.benchmarks}; exclude them (data.exclude) or call results transductive"
        for o in OVERLAPS
        if re.search(o.pattern, address, re.IGNORECASE)
    ]
