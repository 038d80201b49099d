"""Which neurite owns a point of the synthetic tissue, how far its membrane is, and who synapses.

Space is cut into small cubes ("bricks") on one global lattice; a brick keeps the few curves that
can be first or second anywhere in it. A list depends on the position of the brick alone, so the
answer at a point does not depend on the crop it was asked in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled
from emjax.volumes.generator import geometry as _geometry
from emjax.volumes.generator import noise as _noise

_draw, _hashed, _warp = _noise.draw, _noise.hashed, _geometry.warp
_to_segment = _geometry.to_segment
_reach_of = _geometry.reach_of

BRICK_NM = 128.0
_COARSE = 5
CELL_NM = BRICK_NM * _COARSE  # side of the cells the lists are refined from
_STRETCH = 1.9  # the warp stretches a brick by less than this (our bound; see _prune)
SITE_NM = 640.0  # spacing of the lattice of possible synapses
SITE_REACH_NM = 560.0  # distance from a synapse at which its vesicles end
_WALK_NM = 160.0  # a candidate moves at most twice this far to the face it sits on


class Bricks(NamedTuple):
    """Lists of candidates: those of brick b are `items[start[b] : start[b + 1]]`.

    Attributes:
        first: `[3]`, lattice coordinates of the first brick.
        count: `[3]`, bricks along each axis.
        start: `[count.prod() + 1]`.
        items: indices of the listed rows.
    """

    first: np.ndarray
    count: np.ndarray
    start: np.ndarray
    items: np.ndarray


class Tissue(NamedTuple):
    """Everything that is needed to paint a box.

    Attributes:
        neurites: rows of curves `[n, 9]`.
        neurite_owner: `[n]`.
        neurite_bricks: candidates among the neurites.
        organelles: rows of curves `[m, 8]`.
        organelle_owner: `[m]`, the neurite each lies in.
        organelle_part: `[m]`, ids.
        organelle_kind: `[m]`.
        organelle_bricks: candidates among the organelles.
        sites: `[s, 4]`, centre and radius of each synapse.
        site_pair: `[s, 2]`, presynaptic and postsynaptic neurite.
        site_bricks: synapses that may reach into a brick.
    """

    neurites: np.ndarray
    neurite_owner: np.ndarray
    neurite_bricks: Bricks
    organelles: np.ndarray
    organelle_owner: np.ndarray
    organelle_part: np.ndarray
    organelle_kind: np.ndarray
    organelle_bricks: Bricks
    sites: np.ndarray
    site_pair: np.ndarray
    site_bricks: Bricks


@compiled
def _prune(key, centre, half, rows, owner, among, out, surface):
    """Keep the pieces that can be first or second somewhere in a cube; returns how many.

    With `surface` the pieces are organelles, and those whose surface may come near are kept.
    """
    z, y, x = _warp(key, centre[0], centre[1], centre[2])
    spread = half * 1.7320508 * _STRETCH
    best, second, best_owner = 1e30, 1e30, np.int64(-1)
    for n in range(0 if surface else len(among)):
        row = rows[among[n]]
        d, r, _, _, _ = _to_segment(row, z, y, x)
        if d - spread > _reach_of(max(row[6], row[7])):
            continue
        most = (d + spread) / r
        own = owner[among[n]]
        if own == best_owner:
            best = min(best, most)
        elif most < best:
            second, best, best_owner = best, most, own
        elif most < second:
            second = most
    kept = 0
    for n in range(len(among)):
        row = rows[among[n]]
        d = _to_segment(row, z, y, x)[0]
        wide = max(row[6], row[7])
        limit = wide + 40.0 if surface else min(second * wide, _reach_of(wide))
        if d - spread <= limit:
            out[kept] = among[n]
            kept += 1
    return kept


@compiled
def _list_curves(key, rows, owner, wider, ratio, first, count, side, surface):
    """Fill the lists of a block of bricks from those of `wider`, of bricks `ratio` as long."""
    wide_first, wide_count, wide_start, wide_items = wider
    total = count[0] * count[1] * count[2]
    start = np.zeros(total + 1, np.int64)
    items, kept_items = np.empty(total * 16 + 64, np.int64), np.empty(len(wide_items), np.int64)
    middle, at = np.empty(3), np.empty(3, np.int64)
    used = 0
    for brick in range(total):
        at[0] = first[0] + brick // (count[1] * count[2])
        at[1] = first[1] + brick // count[2] % count[1]
        at[2] = first[2] + brick % count[2]
        parent = 0
        for axis in range(3):
            middle[axis] = (at[axis] + 0.5) * side
            step = at[axis] // ratio - wide_first[axis]
            parent = parent * wide_count[axis] + min(max(step, 0), wide_count[axis] - 1)
        among = wide_items[wide_start[parent] : wide_start[parent + 1]]
        kept = _prune(key, middle, 0.5 * side, rows, owner, among, kept_items, surface)
        while used + kept > len(items):
            items = np.concatenate((items, np.empty_like(items)))
        # An assignment of slices takes seconds to compile, for its error message.
        for n in range(kept):
            items[used + n] = kept_items[n]
        used += kept
        start[brick + 1] = used
    return start, items[:used].copy()


@compiled
def brick_of(first, count, side, z, y, x):
    """Return the index of the brick a point lies in; fails when the block does not hold it."""
    a = np.int64(np.floor(z / side)) - first[0]
    b = np.int64(np.floor(y / side)) - first[1]
    c = np.int64(np.floor(x / side)) - first[2]
    if min(a, b, c) < 0 or a >= count[0] or b >= count[1] or c >= count[2]:
        raise IndexError("a point outside the tissue that was grown: a margin is too small")
    return (a * count[1] + b) * count[2] + c


@compiled
def owner_at(rows, owner, start, items, brick, z, y, x):
    """Find who owns a warped point, and the nearest face of its territory.

    Returns:
        The owner, its neighbour, nanometres to the face between them (to first order), the
        direction of that face (z, y, x), and the radius of the owner there.
    """
    f1, f2 = 1e30, 1e30
    id1, id2 = np.int64(0), np.int64(0)
    r1 = 1.0
    az, ay, ax, bz, by, bx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(start[brick], start[brick + 1]):
        m = items[n]
        d, r, pz, py, px = _to_segment(rows[m], z, y, x)
        f = d / r
        if f >= f2:
            continue
        own = owner[m]
        scale = 1.0 / (r * d + 1e-9)
        if f < f1:
            if own != id1:
                f2, id2, bz, by, bx = f1, id1, az, ay, ax
            f1, id1, r1 = f, own, r
            az, ay, ax = pz * scale, py * scale, px * scale
        elif own != id1:
            f2, id2 = f, own
            bz, by, bx = pz * scale, py * scale, px * scale
    gz, gy, gx = az - bz, ay - by, ax - bx
    slope = np.sqrt(gz * gz + gy * gy + gx * gx) + 1e-9
    away = min((f2 - f1) / slope, 1000.0)
    return id1, id2, away, gz / slope, gy / slope, gx / slope, r1


@compiled
def _find_sites(key, rows, owner, first, count, start, items, low, high):
    """Place the synapses whose lattice cells meet a box: on faces, where two neurites touch."""
    cells_low = np.floor(low / SITE_NM).astype(np.int64)
    cells = np.floor(high / SITE_NM).astype(np.int64) - cells_low + 1
    sites = np.empty((cells[0] * cells[1] * cells[2], 4))
    pairs = np.empty((len(sites), 2), np.int64)
    found = 0
    for cell in range(len(sites)):
        i = cells_low[0] + cell // (cells[1] * cells[2])
        j = cells_low[1] + cell // cells[2] % cells[1]
        k = cells_low[2] + cell % cells[2]
        h = _hashed(key, i, j, k)
        z = (i + _draw(h, 1, 0, 0)) * SITE_NM
        y = (j + _draw(h, 2, 0, 0)) * SITE_NM
        x = (k + _draw(h, 3, 0, 0)) * SITE_NM
        if (
            min(z - low[0], y - low[1], x - low[2]) < 0.0
            or max(z - high[0], y - high[1], x - high[2]) > 0.0
        ):
            continue
        pre, post, away, radius = np.int64(0), np.int64(0), 0.0, 0.0
        for attempt in range(3):  # walk to the face
            brick = brick_of(first, count, CELL_NM, z, y, x)
            wz, wy, wx = _warp(key, z, y, x)
            pre, post, away, gz, gy, gx, radius = owner_at(
                rows, owner, start, items, brick, wz, wy, wx
            )
            if attempt < 2 and away < _WALK_NM:
                # The gradient points from the owner to its neighbour.
                z, y, x = z + gz * away, y + gy * away, x + gx * away
        if away > 12.0 or post == 0 or radius < 75.0:
            continue
        # The higher the family the thinner its neurites: axons are mostly the presynaptic side.
        if (pre > post) != (_draw(h, 4, 0, 0) < 0.85):
            pre, post = post, pre
        sites[found, 0], sites[found, 1], sites[found, 2] = z, y, x
        sites[found, 3] = 110.0 + 130.0 * _draw(h, 5, 0, 0)
        pairs[found, 0], pairs[found, 1] = pre, post
        found += 1
    return sites[:found].copy(), pairs[:found].copy()


@compiled
def _list_sites(sites, first, count):
    total = count[0] * count[1] * count[2]
    start = np.zeros(total + 1, np.int64)
    items = np.empty(total * max(len(sites), 1), np.int32)
    used = 0
    for brick in range(total):
        z = (first[0] + brick // (count[1] * count[2]) + 0.5) * BRICK_NM
        y = (first[1] + brick // count[2] % count[1] + 0.5) * BRICK_NM
        x = (first[2] + brick % count[2] + 0.5) * BRICK_NM
        reach = SITE_REACH_NM + 0.87 * BRICK_NM
        for n in range(len(sites)):
            dz, dy, dx = z - sites[n, 0], y - sites[n, 1], x - sites[n, 2]
            if dz * dz + dy * dy + dx * dx < reach * reach:
                items[used] = n
                used += 1
        start[brick + 1] = used
    return start, items[:used].copy()


def build_tissue(seed: int, low_nm: np.ndarray, high_nm: np.ndarray) -> Tissue:
    """Grow the tissue that fills a box.

    Args:
        seed: seed of the tissue.
        low_nm: `[3]` first corner, z, y, x.
        high_nm: `[3]` last corner.

    Returns:
        The tissue; asking it for a point outside the box is an error.
    """
    key = _noise.key_of(seed, 2)
    around = SITE_REACH_NM + 2.0 * _WALK_NM  # candidates further away cannot matter here
    cell_first, cell_count = _block(
        low_nm - around - 2.0 * _WALK_NM, high_nm + around + 2.0 * _WALK_NM, CELL_NM
    )
    first, count = _block(low_nm, high_nm, BRICK_NM)
    # A cell asks for curves around its warped, stretched self.
    grown = 0.5 * CELL_NM * (1.7320508 * _STRETCH - 1.0) + 200.0
    neurites, organelles = _geometry.grow(
        seed, cell_first * CELL_NM - grown, (cell_first + cell_count) * CELL_NM + grown
    )
    cells, bricks = [], []
    # Synapses ask for neurites around the crop; organelles matter within it alone.
    near = _block(low_nm, high_nm, CELL_NM)
    for curves, block, surface in (
        (neurites, (cell_first, cell_count), False),
        (organelles, near, True),
    ):
        one, rows, owner = np.ones(3, np.int64), curves.rows, curves.owner
        whole = Bricks(0 * one, one, np.array([0, len(rows)]), np.arange(len(rows)))
        lists = _list_curves(key, rows, owner, whole, 1, *block, CELL_NM, surface)
        cells.append(Bricks(*block, *lists))
        lists = _list_curves(key, rows, owner, cells[-1], _COARSE, first, count, BRICK_NM, surface)
        bricks.append(Bricks(first, count, *lists))
    sites, pairs = _find_sites(
        key, neurites.rows, neurites.owner, *cells[0], low_nm - around, high_nm + around
    )
    return Tissue(
        neurites.rows, neurites.owner, bricks[0],
        organelles.rows, organelles.owner, organelles.part, organelles.kind, bricks[1],
        sites, pairs, Bricks(first, count, *_list_sites(sites, first, count)),
    )  # fmt: skip


def _block(low: np.ndarray, high: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the bricks that cover a box: the first, and how many along each axis."""
    first = np.floor(low / side).astype(np.int64)
    return first, np.floor(high / side).astype(np.int64) - first + 1
