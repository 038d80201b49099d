"""The lines of an SWC file as arrays, before anything is known about the tree that they describe."""

from __future__ import annotations

import dataclasses

import numpy as np

from emjax.errors import InputError
from emjax.skeletons.skeleton import Skeleton


@dataclasses.dataclass(frozen=True)
class Rows:
    """Lines of a file, one a point.

    Attributes:
        lines: `[n]` int64, number of each line in the file, from 1.
        numbers: `[n]` int64, number of each point.
        types: `[n]` int64.
        values: `[n, 4]` float64 z, y, x, radius.
        parents: `[n]` int64, number of each point's parent; below 0: none.
    """

    lines: np.ndarray
    numbers: np.ndarray
    types: np.ndarray
    values: np.ndarray
    parents: np.ndarray

    def __len__(self) -> int:
        """Number of points."""
        return len(self.lines)

    def take(self, chosen: np.ndarray) -> Rows:
        """Returns some of the lines.

        Args:
            chosen: indices, or `[n]` bool.
        """
        return Rows(*(getattr(self, f.name)[chosen] for f in dataclasses.fields(self)))

    def parent_places(self) -> np.ndarray:
        """Returns the index of each point's parent, `[n]` int64; -1: none; n: not in the file.

        Of points with one number the first counts.
        """
        numbers, first = np.unique(self.numbers, return_index=True)
        at = np.minimum(np.searchsorted(numbers, self.parents), len(numbers) - 1)
        found = np.where(numbers[at] == self.parents, first[at], len(self))
        return np.where(self.parents < 0, -1, found).astype(np.int64)

    def skeleton(self, name: str) -> Skeleton:
        """Returns the trees; every parent is in the file, and there is no ring.

        Args:
            name: of the skeleton.
        """
        places = self.parent_places()
        return Skeleton(self.values[:, :3], places, self.values[:, 3], name, self.types)


def parse_rows(text: str, name: str) -> Rows:
    """Reads the lines of a file.

    Args:
        text: of the file.
        name: of the file, for messages.

    Raises:
        InputError: if a line is no point or there is none; names the line.
    """
    lines, numbers, types, rows, parents = [], [], [], [], []
    for line_number, line in enumerate(text.splitlines(), 1):
        # Tables of other programs separate columns by commas.
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            number, kind, x, y, z, radius, parent = map(float, words[:7])
            numbers.append(int(number))
            types.append(int(kind))
            parents.append(int(parent))
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{name}, line {line_number}: '{line.strip()[:60]}' is no point of a skeleton; a line of SWC is "
                "number, type, x, y, z, radius, parent"
            ) from error
        lines.append(line_number)
        rows.append((z, y, x, radius))
    if not rows:
        raise InputError(f"{name} holds no point of a skeleton")
    return Rows(
        np.asarray(lines, np.int64),
        np.asarray(numbers, np.int64),
        np.asarray(types, np.int64),
        np.asarray(rows, np.float64),
        np.asarray(parents, np.int64),
    )
