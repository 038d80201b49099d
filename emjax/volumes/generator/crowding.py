"""Makes thin neurites of the synthetic tissue avoid thick ones.

Curves that are laid out without regard to each other would run through thick dendrites, where a
section shows them as islands no microscopist has seen. Each thick trunk therefore pushes space
away from its axis: what is nearer than 2.5 radii moves straight outwards, by one radius at the
axis and by nothing at the edge, a map that keeps the order of distances and tears nothing but the
axis itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled

PUSH_REACH = 2.5  # radii; at 2 or more the map is monotone
MAX_PUSH_NM = 1250.0
_CELL_NM = 1500.0


class Trunks(NamedTuple):
    """The axes of thick neurites, with a list for each cell of a grid of those that matter there.

    Attributes:
        rows: `[n, 9]` pieces of curves, as in `emjax.volumes.generator.pieces.Curves`, those of one neurite together.
        owner: `[n]`, id of the neurite.
        first: `[3]`, grid coordinates of the first cell.
        count: `[3]`, number of cells along each axis.
        start: `[count.prod() + 1]`; the pieces of cell c are `items[start[c] : start[c + 1]]`.
        items: indices of rows.
    """

    rows: np.ndarray
    owner: np.ndarray
    first: np.ndarray
    count: np.ndarray
    start: np.ndarray
    items: np.ndarray


@compiled
def _list_cells(rows, first, count):
    total = count[0] * count[1] * count[2]
    start = np.zeros(total + 1, np.int64)
    items = np.empty(1024, np.int64)
    used = 0
    for cell in range(total):
        z = (first[0] + cell // (count[1] * count[2]) + 0.5) * _CELL_NM
        y = (first[1] + cell // count[2] % count[1] + 0.5) * _CELL_NM
        x = (first[2] + cell % count[2] + 0.5) * _CELL_NM
        if used + len(rows) > len(items):
            items = np.concatenate((items, np.empty(len(items) + len(rows), np.int64)))
        for n in range(len(rows)):
            dz = 0.5 * (rows[n, 0] + rows[n, 3]) - z
            dy = 0.5 * (rows[n, 1] + rows[n, 4]) - y
            dx = 0.5 * (rows[n, 2] + rows[n, 5]) - x
            half = 0.5 / np.sqrt(rows[n, 8])
            reach = PUSH_REACH * max(rows[n, 6], rows[n, 7]) + 0.87 * _CELL_NM + half
            if dz * dz + dy * dy + dx * dx < reach * reach:
                items[used] = n
                used += 1
        start[cell + 1] = used
    return start, items[:used].copy()


def index_trunks(
    rows: np.ndarray, owner: np.ndarray, low_nm: np.ndarray, high_nm: np.ndarray
) -> Trunks:
    """List the trunks that push anything within a box.

    Args:
        rows: `[n, 9]`.
        owner: `[n]`.
        low_nm: `[3]` first corner of the box; points outside the box are not pushed.
        high_nm: `[3]` last corner of the box.

    Returns:
        The trunks with their lists.
    """
    first = np.floor(low_nm / _CELL_NM).astype(np.int64)
    count = np.floor(high_nm / _CELL_NM).astype(np.int64) - first + 1
    return Trunks(rows, owner, first, count, *_list_cells(rows, first, count))


@compiled
def _add_push(distance, radius, vector, total):
    reach = PUSH_REACH * radius
    if distance < reach:
        share = 1.0 - distance / reach
        amount = radius * share * share / (distance + 1e-6)
        for axis in range(3):
            total[axis] += amount * vector[axis]


@compiled
def make_way(point, owner, trunks):
    """Move a control point away from the trunks near it, in place.

    Each trunk pushes from the point of its axis that is nearest.
    """
    rows, owners, first, count, start, items = trunks
    cell = 0
    for axis in range(3):
        step = np.int64(np.floor(point[axis] / _CELL_NM)) - first[axis]
        if step < 0 or step >= count[axis]:
            return
        cell = cell * count[axis] + step
    total, vector = np.zeros(3), np.zeros(3)
    current, best, radius = np.int64(-1), 1e30, 1.0
    for n in range(start[cell], start[cell + 1]):
        m = items[n]
        if owners[m] == owner:
            continue
        if owners[m] != current:
            _add_push(best, radius, vector, total)
            current, best = owners[m], 1e30
        row = rows[m]
        ez, ey, ex = row[3] - row[0], row[4] - row[1], row[5] - row[2]
        pz, py, px = point[0] - row[0], point[1] - row[1], point[2] - row[2]
        t = min(max((pz * ez + py * ey + px * ex) * row[8], 0.0), 1.0)
        pz, py, px = pz - t * ez, py - t * ey, px - t * ex
        distance = np.sqrt(pz * pz + py * py + px * px)
        if distance < best:
            best, radius = distance, row[6] + t * (row[7] - row[6])
            vector[0], vector[1], vector[2] = pz, py, px
    _add_push(best, radius, vector, total)
    size = np.sqrt(total[0] ** 2 + total[1] ** 2 + total[2] ** 2)
    scale = min(1.0, MAX_PUSH_NM / (size + 1e-6))
    for axis in range(3):
        point[axis] += scale * total[axis]
