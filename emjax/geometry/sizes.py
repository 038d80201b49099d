"""Triples in the order z, y, x: whole numbers of voxels, and lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    # Three numbers, too, but no type checker follows that through `tuple(b - a for a, b in zip(start, stop))`. Numbers
    # from outside are counted where they come in.
    Size: TypeAlias = tuple[int, ...]
    Triple: TypeAlias = tuple[float, ...]
else:
    Size: TypeAlias = tuple[int, int, int]  # (z, y, x), in voxels
    Triple: TypeAlias = tuple[float, float, float]  # (z, y, x), usually in nm
