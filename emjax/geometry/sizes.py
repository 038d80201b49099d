"""Triples in the order z, y, x: whole numbers of voxels, and lengths."""

from __future__ import annotations

from typing import TypeAlias

Size: TypeAlias = tuple[int, int, int]  # (z, y, x), in voxels
Triple: TypeAlias = tuple[float, float, float]  # (z, y, x), usually in nm
