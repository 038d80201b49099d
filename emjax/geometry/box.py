"""Boxes of voxels, z y x: where a crop, a block or a split lies."""

from __future__ import annotations

import dataclasses
import math
import re

from emjax.errors import InputError
from emjax.geometry.sizes import Size

_RANGE = re.compile(r"^\s*(-?\d*)\s*:\s*(-?\d*)\s*$")


@dataclasses.dataclass(frozen=True)
class Box:
    """A box of voxels.

    Attributes:
        start: (z, y, x) of the first voxel.
        size: (z, y, x) number of voxels, 0 or more.
    """

    start: Size
    size: Size

    @classmethod
    def between(cls, start: Size, stop: Size) -> Box:
        """Returns the box from `start` to before `stop`; empty along an axis where stop is not above start."""
        size = tuple(max(b - a, 0) for a, b in zip(start, stop, strict=True))
        return cls(tuple(start), size)

    @classmethod
    def from_text(cls, text: str, shape: Size) -> Box:
        """Reads a box as numpy writes slices: `0:64,256:768,:`.

        Args:
            text: one to three ranges, z first; missing ones are whole; negative ends count from the end.
            shape: (z, y, x) of the volume.

        Raises:
            InputError: if the text is no box, or the box is empty or leaves the volume.
        """
        parts = text.strip().removeprefix("[").removesuffix("]").split(",")
        if len(parts) > 3:
            raise InputError(
                f"box [{text}] has {len(parts)} ranges; give z, y, x, as in [0:64,256:768,:]"
            )
        starts, stops = [], []
        for axis, size in enumerate(shape):
            part = parts[axis] if axis < len(parts) else ":"
            match = _RANGE.match(part)
            if not match:
                raise InputError(
                    f"box [{text}]: '{part.strip()}' is no range; write [0:64,256:768,:], z, y, x"
                )
            first = int(match[1]) if match[1] else 0
            last = int(match[2]) if match[2] else size
            first, last = (end + size if end < 0 else end for end in (first, last))
            if not 0 <= first < last <= size:
                raise InputError(
                    f"box [{text}] leaves the volume or is empty: {'zyx'[axis]} is {first}:{last} of "
                    f"0:{size}; the volume is {tuple(shape)} voxels, z, y, x"
                )
            starts.append(first)
            stops.append(last)
        return cls.between(tuple(starts), tuple(stops))

    @property
    def stop(self) -> Size:
        """(z, y, x) one past the last voxel."""
        return tuple(a + b for a, b in zip(self.start, self.size, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Slices that cut the box out of an array `[z, y, x]`."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def volume(self) -> int:
        """Number of voxels."""
        return math.prod(self.size)

    def intersect(self, other: Box) -> Box | None:
        """Returns what both share, or None where they share nothing."""
        start = tuple(map(max, self.start, other.start))
        stop = tuple(map(min, self.stop, other.stop))
        box = Box.between(start, stop)
        return box if box.volume else None

    def overlaps(self, other: Box) -> bool:
        """Whether the boxes share a voxel."""
        return self.intersect(other) is not None

    def contains(self, other: Box) -> bool:
        """Whether the other box lies in this one."""
        return all(a <= b for a, b in zip(self.start, other.start, strict=True)) and all(
            a >= b for a, b in zip(self.stop, other.stop, strict=True)
        )

    def grow(self, margin: Size) -> Box:
        """Returns the box with a margin on all sides; a negative one shrinks it."""
        start = tuple(a - m for a, m in zip(self.start, margin, strict=True))
        return Box.between(start, tuple(a + m for a, m in zip(self.stop, margin, strict=True)))

    def clip(self, outer: Box) -> Box:
        """Returns the part inside another box; empty where there is none."""
        return Box.between(
            tuple(map(max, self.start, outer.start)), tuple(map(min, self.stop, outer.stop))
        )

    def translate(self, by: Size) -> Box:
        """Returns the box moved by (z, y, x) voxels."""
        return Box(tuple(a + b for a, b in zip(self.start, by, strict=True)), self.size)

    def __str__(self) -> str:
        """Writes the box as `from_text` reads it, in brackets."""
        return "[" + ",".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True)) + "]"
