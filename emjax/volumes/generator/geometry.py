"""Where the neurites of the synthetic tissue run, and which of them may own a point.

Neurites are curves with a calibre. Several families of endless curves, each along its own
direction on a jittered lattice, bend under noise; boutons swell them, branches and spines leave
them and carry the id of their parent. Every point belongs to the curve with the least distance
divided by radius, so tissue has no holes, and since two curves of space do not meet, each neurite
stays in one piece around its own axis. All lengths are nanometres, all vectors z, y, x.

The families and their numbers are our choice, set by eye against SNEMI3D, ISBI 2012 and FIB-25.
"""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled
from emjax.geometry.sizes import Triple
from emjax.volumes.generator import crowding as _crowding
from emjax.volumes.generator import noise as _noise
from emjax.volumes.generator import pieces as _pieces
from emjax.volumes.generator.pieces import Curves

_draw, _hashed, _key = _noise.draw, _noise.hashed, _noise.key_of
_noise_line, _noise_vector = _noise.noise_line, _noise.noise_vector
_make_way = _crowding.make_way
_copy, _put = _pieces.copy, _pieces.put

STEP_NM = 330.0  # between the control points of a curve
_BEND_NM, _BEND_LENGTH_NM = 520.0, 4200.0  # slow bending shared by all curves
_BRANCH_STEPS, _BRANCH_STEP_NM = 6, 330.0
_BRANCH_REACH_NM = 2350.0
_BRANCH_APART = 8  # control points between chances of a branch
_TRUNK_FAMILIES, _TRUNK_RADIUS_NM = 3, 190.0  # neurites at least as thick make others give way
_PUSHED_NM = 5000.0  # no curve that starts further from a box reaches it

# spacing, least and greatest radius, boutons, branches, spines, mitochondria, tubules of the
# reticulum: the last five are probabilities per opportunity.
FAMILIES = np.array(
    [
        [4000.0, 380.0, 800.0, 0.00, 0.25, 0.55, 0.85, 0.90],
        [1650.0, 110.0, 300.0, 0.00, 0.25, 0.55, 0.90, 0.95],
        [1600.0, 90.0, 260.0, 0.05, 0.30, 0.40, 0.90, 0.95],
        [600.0, 50.0, 110.0, 0.22, 0.12, 0.00, 0.80, 0.65],
        [560.0, 42.0, 95.0, 0.22, 0.10, 0.00, 0.75, 0.60],
        [540.0, 36.0, 85.0, 0.18, 0.08, 0.00, 0.65, 0.55],
        [800.0, 34.0, 66.0, 0.10, 0.45, 0.00, 0.20, 0.40],
    ]
)
FAMILY_SHIFT = 40  # id of a neurite >> FAMILY_SHIFT is its family + 1
MITOCHONDRION, TUBULE = 0, 1


@compiled
def warp(key: np.uint64, z: float, y: float, x: float) -> Triple:
    """Displace a point a little, so that outlines are wavy: at most 194 nm along each axis."""
    a = _noise_vector(key, z / 620.0, y / 620.0, x / 620.0)
    b = _noise_vector(key ^ np.uint64(0x55), z / 280.0, y / 280.0, x / 280.0)
    return (
        z + 120.0 * a[0] + 74.0 * b[0],
        y + 120.0 * a[1] + 74.0 * b[1],
        x + 120.0 * a[2] + 74.0 * b[2],
    )


def frames(seed: int) -> np.ndarray:
    """Directions of the families, `[f, 3, 3]`: along the curves, and two across them."""
    count = len(FAMILIES)
    turn = np.array([_draw(_key(seed, 11), i, 0, 0) for i in range(4)]) - 0.5
    turn /= max(float(np.linalg.norm(turn)), 1e-6)
    w, a, b, c = turn  # a quaternion
    rotation = np.array(
        [
            [1 - 2 * (b * b + c * c), 2 * (a * b - c * w), 2 * (a * c + b * w)],
            [2 * (a * b + c * w), 1 - 2 * (a * a + c * c), 2 * (b * c - a * w)],
            [2 * (a * c - b * w), 2 * (b * c + a * w), 1 - 2 * (a * a + b * b)],
        ]
    )
    result = np.zeros((count, 3, 3))
    for index in range(count):
        # A golden spiral over half the sphere keeps the families well apart.
        height = (index + 0.5) / count
        angle = index * 2.399963
        flat = np.sqrt(1 - height * height)
        along = rotation @ np.array([height, flat * np.sin(angle), flat * np.cos(angle)])
        across = np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))])
        across /= np.linalg.norm(across)
        result[index] = along, across, np.cross(along, across)
    return result


@compiled
def _control_point(key, shared, spacing, frame, i, j, k, out):
    """Write control point k of curve (i, j) of a family to `out`."""
    own = _hashed(key, i, j, 7)
    t = k * STEP_NM
    u = i + 0.9 * _draw(own, 1, 0, 0) + 0.40 * _noise_line(own ^ np.uint64(1), t / 2600.0)
    v = j + 0.9 * _draw(own, 2, 0, 0) + 0.40 * _noise_line(own ^ np.uint64(2), t / 2600.0)
    wiggle = min(0.11 * spacing, 170.0)
    u = u * spacing + wiggle * _noise_line(own ^ np.uint64(3), t / 900.0)
    v = v * spacing + wiggle * _noise_line(own ^ np.uint64(4), t / 900.0)
    for axis in range(3):
        out[axis] = t * frame[0, axis] + u * frame[1, axis] + v * frame[2, axis]
    scale = 1.0 / _BEND_LENGTH_NM
    # One field bends all curves alike, so that they turn together and do not meet.
    a, b, c = _noise_vector(shared ^ np.uint64(99), out[0] * scale, out[1] * scale, out[2] * scale)
    out[0] += _BEND_NM * a
    out[1] += _BEND_NM * b
    out[2] += _BEND_NM * c


@compiled
def _calibre(key, family, i, j):
    share = _draw(_hashed(key, i, j, 8), 1, 0, 0)
    return family[1] + (family[2] - family[1]) * share * share


@compiled
def _radius(key, family, i, j, k):
    own = _hashed(key, i, j, 8)
    value = _calibre(key, family, i, j) * np.exp(0.35 * _noise_line(own, k * STEP_NM / 1100.0))
    # A bouton swells the middle one of three control points.
    if _draw(own, 2, (k + 1) // 3, 0) < family[3]:
        value = value + (210.0 if (k + 1) % 3 == 1 else 60.0)
    return value


@compiled
def _near(low, high, p, q, reach):
    for axis in range(3):
        if min(p[axis], q[axis]) > high[axis] + reach or max(p[axis], q[axis]) < low[axis] - reach:
            return False
    return True


@compiled
def reach_of(radius):
    """Distance beyond which a curve never owns a point, since others always win there (our bound)."""
    return 350.0 + 2.4 * radius


@compiled
def _side_branch(key, low, high, origin, radius, spine, frame, owner, trunks, store, count):
    """Grow a branch or a spine from a control point; returns the new count."""
    reach = reach_of(max(1.35 * radius, 220.0))
    if not _near(low, high, origin, origin, reach + _BRANCH_REACH_NM):
        return count
    turn = 6.2831853 * _draw(key, 0, 0, 1)
    lean = 0.9 * (_draw(key, 0, 0, 2) - 0.5)
    steps, length = _BRANCH_STEPS, _BRANCH_STEP_NM
    thick = radius * (0.45 + 0.4 * _draw(key, 0, 0, 3))
    if spine:
        steps = 4
        length = min((1.3 * radius + 250.0 + 450.0 * _draw(key, 0, 0, 4)) / 4.0, 330.0)
        thick = 42.0 + 20.0 * _draw(key, 0, 0, 5)
    p, q, way_end = origin.copy(), origin.copy(), origin.copy()
    r0 = thick
    for m in range(steps):
        wobble = 0.9 * _noise_line(key ^ np.uint64(21), 0.45 * m)
        c, s = np.cos(turn + wobble), np.sin(turn + wobble)
        for axis in range(3):
            way = c * frame[1, axis] + s * frame[2, axis]
            way += (lean + 0.5 * _noise_line(key ^ np.uint64(22), 0.5 * m)) * frame[0, axis]
            way_end[axis] += length * 0.85 * way
        _copy(way_end, q)
        _make_way(q, owner, trunks)
        r1 = thick * (1.0 - 0.06 * m) * np.exp(0.3 * _noise_line(key, 0.6 * m))
        if spine and m >= 2:
            r1 = 100.0 + 110.0 * _draw(key, 0, 0, 6)  # the head
        if _near(low, high, p, q, reach):
            count = _put(store, count, p, q, r0, r1, owner, 0, 0)
        _copy(q, p)
        r0 = r1
    return count


@compiled
def _organelles(key, family, frame, points, radii, k, owner, store, count):
    """Place organelles starting at control point k; `points` holds k .. k + 5."""
    for slot in range(8):
        kind = MITOCHONDRION if slot < 3 else TUBULE
        chance = family[6] if kind == MITOCHONDRION else family[7]
        period = 5 if kind == MITOCHONDRION else 3
        h = _hashed(key, k, slot, 5)
        # Slots beyond the first of a kind only fit in wide neurites.
        room = radii[2] - (230.0 * slot if kind == MITOCHONDRION else 70.0 * (slot - 3))
        if (k + slot) % period != 0 or room < 48.0 or _draw(h, 0, 0, 0) > chance:
            continue
        if kind == MITOCHONDRION:
            radius = min(0.95 * radii[2], 90.0 + 140.0 * _draw(h, 1, 0, 0) ** 1.5)
            steps = 2 + int(3.99 * _draw(h, 2, 0, 0))
        else:
            radius = 13.0 + 17.0 * _draw(h, 1, 0, 0)
            steps = 1 + int(2.99 * _draw(h, 2, 0, 0))
        turn = 6.2831853 * _draw(h, 3, 0, 0)
        away = max(radii[2] * 1.1 - radius - 40.0, 0.0) * np.sqrt(_draw(h, 4, 0, 0))
        p, q, r0 = np.empty(3), np.empty(3), radius
        for m in range(steps + 1):
            swing = turn + 0.6 * _noise_line(h, 0.5 * m)
            c, s = away * np.cos(swing), away * np.sin(swing)
            for axis in range(3):
                q[axis] = points[m, axis] + c * frame[1, axis] + s * frame[2, axis]
            r1 = radius * (0.85 + 0.25 * _noise_line(h ^ np.uint64(9), 0.8 * m))
            if m > 0:
                part = (owner << 20) | ((k + (1 << 15)) << 4) | slot
                count = _put(store, count, p, q, r0, r1, owner, part, kind)
            _copy(q, p)
            r0 = r1
    return count


@compiled
def _lattice(family, frame, low, high, side):
    """Find the range of control points and curves of a family within `side` of a box."""
    bounds = np.empty((3, 2), np.int64)
    for d in range(3):
        centre, wide = 0.0, 0.0
        for axis in range(3):
            centre += 0.5 * (low[axis] + high[axis]) * frame[d, axis]
            wide += 0.5 * (high[axis] - low[axis]) * abs(frame[d, axis])
        wide += side
        unit = STEP_NM if d == 0 else family[0]
        # Jitter and wander take a curve at most 1.4 spacings and a bend from its lattice point.
        wide += 6.0 * STEP_NM if d == 0 else 1.5 * family[0]
        wide += 2.0 * _BEND_NM
        bounds[d, 0] = int(np.floor((centre - wide) / unit))
        bounds[d, 1] = int(np.ceil((centre + wide) / unit))
    return bounds


@compiled
def _enumerate_trunks(key, table, all_frames, low, high, store):
    """Enumerate the axes of thick neurites that push anything that can matter in a box."""
    count = 0
    p, q = np.empty(3), np.empty(3)
    for f in range(_TRUNK_FAMILIES):
        family, frame = table[f], all_frames[f]
        own_key = _hashed(key, f, 0, 3)
        side = _PUSHED_NM + _crowding.PUSH_REACH * 1.42 * family[2]
        bounds = _lattice(family, frame, low, high, side)
        for i in range(bounds[1, 0], bounds[1, 1] + 1):
            for j in range(bounds[2, 0], bounds[2, 1] + 1):
                if _calibre(own_key, family, i, j) < _TRUNK_RADIUS_NM:
                    continue
                owner = ((f + 1) << FAMILY_SHIFT) | ((i + (1 << 19)) << 20) | (j + (1 << 19))
                _control_point(own_key, key, family[0], frame, i, j, bounds[0, 0], p)
                r0 = _radius(own_key, family, i, j, bounds[0, 0])
                for k in range(bounds[0, 0] + 1, bounds[0, 1] + 1):
                    _control_point(own_key, key, family[0], frame, i, j, k, q)
                    r1 = _radius(own_key, family, i, j, k)
                    if _near(low, high, p, q, side):
                        count = _put(store, count, p, q, r0, r1, owner, 0, 0)
                    _copy(q, p)
                    r0 = r1
    return count


@compiled
def _matters(low, high, point, reach, k, family):
    """Whether a control point may end near a box, or bear a branch that does."""
    reach += _crowding.MAX_PUSH_NM + 900.0
    if k % _BRANCH_APART == 0 and family[4] > 0.0:
        reach += _BRANCH_REACH_NM
    return _near(low, high, point, point, reach)


@compiled
def _enumerate(key, table, all_frames, low, high, trunks, neurites, organelles):
    """Enumerate, in one fixed order, every piece that can matter in the box `low .. high`."""
    count, inner = 0, 0
    points, radii = np.empty((6, 3)), np.empty(6)
    for f in range(len(table)):
        family, frame = table[f], all_frames[f]
        own_key = _hashed(key, f, 0, 3)
        reach = reach_of(1.42 * family[2] + 210.0)
        side = reach + _BRANCH_REACH_NM + _crowding.MAX_PUSH_NM
        bounds = _lattice(family, frame, low, high, side)
        for i in range(bounds[1, 0], bounds[1, 1] + 1):
            for j in range(bounds[2, 0], bounds[2, 1] + 1):
                owner = ((f + 1) << FAMILY_SHIFT) | ((i + (1 << 19)) << 20) | (j + (1 << 19))
                tube_key = _hashed(own_key, i, j, 4)
                first = bounds[0, 0]
                thick = f < _TRUNK_FAMILIES
                thick = thick and _calibre(own_key, family, i, j) >= _TRUNK_RADIUS_NM
                for m in range(6):
                    _control_point(own_key, key, family[0], frame, i, j, first + m, points[m])
                    if not thick and _matters(low, high, points[m], reach, first + m, family):
                        _make_way(points[m], owner, trunks)
                    radii[m] = _radius(own_key, family, i, j, first + m)
                for k in range(first, bounds[0, 1] + 1):
                    if _near(low, high, points[0], points[1], reach):
                        count = _put(
                            neurites, count, points[0], points[1], radii[0], radii[1], owner, 0, 0
                        )
                    if _near(low, high, points[0], points[5], reach + 400.0):
                        inner = _organelles(
                            tube_key, family, frame, points, radii, k, owner, organelles, inner
                        )
                    for spine in range(2):
                        apart = 2 if spine else _BRANCH_APART
                        h = _hashed(tube_key, k, spine, 6)
                        if k % apart == 0 and _draw(h, 9, 0, 0) < family[4 + spine]:
                            count = _side_branch(
                                h, low, high, points[0], radii[0], spine == 1, frame, owner,
                                trunks, neurites, count,
                            )  # fmt: skip
                    for m in range(5):
                        _copy(points[m + 1], points[m])
                        radii[m] = radii[m + 1]
                    _control_point(own_key, key, family[0], frame, i, j, k + 6, points[5])
                    if not thick and _matters(low, high, points[5], reach, k + 6, family):
                        _make_way(points[5], owner, trunks)
                    radii[5] = _radius(own_key, family, i, j, k + 6)
    return count, inner


@compiled
def to_segment(row, z, y, x):
    """Distance from a point to a piece of curve, the radius there, and the vector to the point."""
    ez, ey, ex = row[3] - row[0], row[4] - row[1], row[5] - row[2]
    pz, py, px = z - row[0], y - row[1], x - row[2]
    t = (pz * ez + py * ey + px * ex) * row[8]
    t = min(max(t, 0.0), 1.0)
    pz, py, px = pz - t * ez, py - t * ey, px - t * ex
    return np.sqrt(pz * pz + py * py + px * px), row[6] + t * (row[7] - row[6]), pz, py, px


def grow(seed: int, low: np.ndarray, high: np.ndarray) -> tuple[Curves, ...]:
    """Grow all neurites and organelles that can matter within a box.

    Args:
        seed: seed of the tissue.
        low: `[3]` first corner of the box.
        high: `[3]` last corner.

    Returns:
        The pieces of the neurites and those of the organelles, in an order that does not depend
        on the box.
    """
    key, table, directions = _key(seed, 1), FAMILIES, frames(seed)
    (trunks,) = _pieces.filled(
        1, lambda store: (_enumerate_trunks(key, table, directions, low, high, store),)
    )
    pushing = _crowding.index_trunks(trunks.rows, trunks.owner, low - _PUSHED_NM, high + _PUSHED_NM)
    return _pieces.filled(
        2, lambda *stores: _enumerate(key, table, directions, low, high, pushing, *stores)
    )
