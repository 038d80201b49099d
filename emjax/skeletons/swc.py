"""Skeletons of neurites, and a reader of SWC, the text format in which they are exchanged."""

from __future__ import annotations

import dataclasses
import glob
import os
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from emjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """One or more trees of points.

    Attributes:
        positions: `[n, 3]` float64 z, y, x, nm.
        parents: `[n]` int64, index of each point's parent; -1 for the root of a tree.
        radii: `[n]` float64, nm; 0 if unknown.
        name: name for messages.
    """

    positions: np.ndarray
    parents: np.ndarray
    radii: np.ndarray
    name: str = ""

    @property
    def edges(self) -> np.ndarray:
        """The two points of each edge (child, parent), `[m, 2]` int64 indices."""
        points = np.flatnonzero(self.parents >= 0)
        return np.stack([points, self.parents[points]], axis=1)

    @property
    def edge_lengths(self) -> np.ndarray:
        """Length of each edge, `[m]` float64, nm."""
        edges = self.edges
        steps = self.positions[edges[:, 0]] - self.positions[edges[:, 1]]
        return np.linalg.norm(steps, axis=1)

    def keep(self, kept: np.ndarray) -> Skeleton:
        """Returns a skeleton of the points that are kept and the edges between them.

        Args:
            kept: `[n]` bool, whether to keep each point.
        """
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        parents = np.where(self.parents >= 0, number[self.parents], -1)[kept]
        return Skeleton(self.positions[kept], parents, self.radii[kept], self.name)

    def trees(self) -> list[Skeleton]:
        """Returns each connected tree as a skeleton of its own, ordered by their first points."""
        _, tree = self._components()
        # scipy numbers components by their first points.
        return [self.keep(tree == i) for i in range(tree.max() + 1)] if len(tree) else []

    def _components(self) -> tuple[int, np.ndarray]:
        edges, points = self.edges, len(self.parents)
        ones = np.ones(len(edges), bool)
        return connected_components(
            coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(points, points)), directed=False
        )


def read_swc(path: str | os.PathLike[str], unit_nm: float = 1.0) -> Skeleton:
    """Reads an SWC file; its points may stand in any order.

    Args:
        path: file with lines of number, type, x, y, z, radius and the number of the parent, -1 for none; '#' begins a
            comment.
        unit_nm: length of the file's unit in nm, which SWC does not define; 1000 for micrometres.

    Returns:
        All trees of the file as one skeleton.

    Raises:
        InputError: if the file does not exist or is no SWC; names the line.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"cannot read skeleton {path}: {reason}") from error
    rows, numbers, parent_numbers = [], [], []
    for line_number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            number, _, x, y, z, radius, parent = map(float, words[:7])
            numbers.append(int(number))
            parent_numbers.append(int(parent))
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{path}, line {line_number}: '{line.strip()[:60]}' is no point of a skeleton; a line of SWC is "
                "number, type, x, y, z, radius, parent"
            ) from error
        rows.append((z, y, x, radius))
    if not rows:
        raise InputError(f"{path} holds no point of a skeleton")
    place = {number: i for i, number in enumerate(numbers)}
    if len(place) < len(numbers):
        raise InputError(f"{path}: two points have one number; each needs its own")
    parents = [-1 if n < 0 else place.get(n, len(rows)) for n in parent_numbers]
    if max(parents) == len(rows):
        child = numbers[parents.index(len(rows))]
        raise InputError(f"{path}: the parent of point {child} is not in the file")
    table = np.asarray(rows, np.float64) * unit_nm
    if not np.isfinite(table).all():
        raise InputError(f"{path}: a coordinate is not finite")
    skeleton = Skeleton(table[:, :3], np.asarray(parents, np.int64), table[:, 3], path.stem)
    if skeleton._components()[0] + len(skeleton.edges) != len(parents):
        raise InputError(f"{path}: parents form a ring; a skeleton is made of trees")
    return skeleton


def read_neurons(text: str, unit_nm: float) -> list[Skeleton]:
    """Reads neurons, and returns one skeleton for each.

    Args:
        text: an SWC file, in which each tree is a neuron; or a folder or pattern of SWC files, each of which is one.
        unit_nm: length of the files' unit in nm.

    Raises:
        InputError: if no file exists, or one is no SWC.
    """
    path = Path(os.path.expanduser(text))
    if path.is_file():
        return read_swc(path, unit_nm).trees()
    pattern = str(path / "*.swc") if path.is_dir() else str(path)
    files = sorted(glob.glob(pattern))
    if not files:
        raise InputError(
            f"skeletons={text}: no file {pattern}; give an SWC file, or a folder or pattern of them"
        )
    return [read_swc(file, unit_nm) for file in files]
