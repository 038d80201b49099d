"""Measures a block of ids in one pass: each id's voxels and faces, and the faces that each pair of ids shares.

The code is compiled, and uses that neighbours along x mostly have the same id: it looks up an id once for a run of such
voxels, and adds successive faces of the same pair together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled
from emjax.hash_table import EMPTY, first_place

# Columns of `Entries.boxes`.
_LOW, _HIGH = 0, 3
# Number of slots of a new hash table.
_SLOTS = 1 << 12


class Entries(NamedTuple):
    """What was measured of each id of a block; row 0 stands for no object.

    Attributes:
        ids: `[n]` uint64.
        voxels: `[n]` int64.
        ids: `[n]` uint64.
        voxels: `[n]` int64, number of voxels.
        boxes: `[n, 6]` int64, bounding box: first z, y, x, then one past the last, counted from the core's first voxel.
        sums: `[n, 4]` int64, sums over the voxels of z, y, x, counted likewise, and of the image.
        faces: `[n, 3]` int64, number of faces along z, y, x to voxels of other ids or of none.
        border: `[n, 3]` int64, number of faces along z, y, x at the border of the volume.
    """

    ids: np.ndarray
    voxels: np.ndarray
    boxes: np.ndarray
    sums: np.ndarray
    faces: np.ndarray
    border: np.ndarray


class Pairs(NamedTuple):
    """Pairs of ids that share faces.

    Attributes:
        keys: `[n]` uint64, the rows of both ids in `Entries`, 31 bits each, the smaller row in the upper bits.
        faces: `[n, 3]` int64, number of shared faces along z, y, x.
    """

    keys: np.ndarray
    faces: np.ndarray


def measure_rows(
    ids: np.ndarray,
    image: np.ndarray,
    first: np.ndarray,
    at_border: np.ndarray,
    no_object: np.ndarray,
) -> tuple[Entries, Pairs]:
    """Measures the objects of a block.

    Args:
        ids: `[z, y, x]` uint32 or uint64, the block and, where the volume has it, one voxel below along each axis.
        image: `[z, y, x]` integers, the block alone; empty if there is no image.
        first: (z, y, x) of the block's first voxel in `ids`, each 0 or 1.
        at_border: `[2, 3]` bool, whether the block's lower and upper end along each axis is the volume's.
        no_object: `[k]` uint64 ids that stand for no object, besides 0.

    Returns:
        All ids and pairs, unordered; ids that lie only below the block have faces but no voxels.
    """
    slots = [np.full(_SLOTS, EMPTY, np.int64) for _ in range(2)]
    entries = Entries(*(np.zeros((_SLOTS, *shape), kind) for shape, kind in _ENTRIES))
    pairs = Pairs(np.zeros(_SLOTS, np.uint64), np.zeros((_SLOTS, 3), np.int64))
    used = np.asarray([1, 0])
    # For each voxel of the present plane and the one below it, its row in `entries`.
    planes = np.zeros((2, *ids.shape[1:]), np.int32)
    row, end = 0, ids.shape[0] * ids.shape[1]
    while True:
        row = _measure_from(
            ids, image, first, at_border, no_object, row, planes, *slots, entries, pairs, used
        )
        if row == end:
            break
        # A table could become more than half full: double both, and continue with the row that it stopped at.
        entries = Entries(*(_longer(column) for column in entries))
        pairs = Pairs(*(_longer(column) for column in pairs))
        slots = [
            _placed(entries.ids, used[0], 1, 2 * len(slots[0])),
            _placed(pairs.keys, used[1], 0, 2 * len(slots[1])),
        ]
    entries = Entries(*(column[: used[0]] for column in entries))
    return entries, Pairs(*(column[: used[1]] for column in pairs))


_ENTRIES = (
    ((), np.uint64),
    ((), np.int64),
    ((6,), np.int64),
    ((4,), np.int64),
    ((3,), np.int64),
    ((3,), np.int64),
)


def _longer(column: np.ndarray) -> np.ndarray:
    return np.concatenate([column, np.zeros_like(column)])


@compiled
def _find(slots, keys, key):
    """Returns the slot where a key's row is, or would be, in an open hash table with linear probing."""
    place = first_place(key, slots.size)
    while slots[place] != EMPTY and keys[slots[place]] != key:
        place = (place + 1) & (slots.size - 1)
    return place


@compiled
def _placed(keys, used, begin, size):
    """Returns a new hash table of `size` slots that holds rows `begin` to `used`."""
    slots = np.full(size, EMPTY, np.int64)
    for row in range(begin, used):
        slots[_find(slots, keys, keys[row])] = row
    return slots


@compiled
def _add_faces(a, b, axis, count, pair_slots, entries, pairs, used):
    """Adds `count` faces between two rows of `entries`; row 0 stands for no object."""
    if a > 0:
        entries.faces[a, axis] += count
    if b > 0:
        entries.faces[b, axis] += count
    if a == 0 or b == 0:
        return
    key = np.uint64(min(a, b)) << np.uint64(31) | np.uint64(max(a, b))
    place = _find(pair_slots, pairs.keys, key)
    pair = pair_slots[place]
    if pair == EMPTY:
        pair = used[1]
        pair_slots[place] = pair
        pairs.keys[pair] = key
        used[1] += 1
    pairs.faces[pair, axis] += count


@compiled
def _compare(here, below, begin, axis, pair_slots, entries, pairs, used):
    """Adds the faces between two neighbouring rows of voxels along x."""
    x, end = begin, here.size
    while x < end:
        a, b = here[x], below[x]
        if a == b:
            x += 1
            continue
        start = x
        while x < end and here[x] == a and below[x] == b:
            x += 1
        _add_faces(a, b, axis, x - start, pair_slots, entries, pairs, used)


@compiled
def _add_run(entry, z, y, begin, end, at_border, shape, entries):
    """Adds voxels `begin` to `end` of a row, all of one id; z, y and x count from the core's first voxel."""
    count = end - begin
    box = entries.boxes[entry]
    if entries.voxels[entry] == 0:
        box[_LOW], box[_LOW + 1], box[_LOW + 2] = z, y, begin
    box[_LOW] = min(box[_LOW], z)
    box[_LOW + 1] = min(box[_LOW + 1], y)
    box[_LOW + 2] = min(box[_LOW + 2], begin)
    box[_HIGH] = max(box[_HIGH], z + 1)
    box[_HIGH + 1] = max(box[_HIGH + 1], y + 1)
    box[_HIGH + 2] = max(box[_HIGH + 2], end)
    entries.voxels[entry] += count
    entries.sums[entry, 0] += z * count
    entries.sums[entry, 1] += y * count
    entries.sums[entry, 2] += (begin + end - 1) * count // 2
    border = entries.border[entry]
    border[0] += count * ((at_border[0, 0] and z == 0) + (at_border[1, 0] and z == shape[0] - 1))
    border[1] += count * ((at_border[0, 1] and y == 0) + (at_border[1, 1] and y == shape[1] - 1))
    border[2] += (at_border[0, 2] and begin == 0) + (at_border[1, 2] and end == shape[2])


@compiled
def _measure_from(
    ids,
    image,
    first,
    at_border,
    no_object,
    row,
    planes,
    id_slots,
    pair_slots,
    entries,
    pairs,
    used,
):
    """Adds rows of voxels along x until all are added or a table could become more than half full.

    Returns the number of the row to continue with.
    """
    depth, height, width = ids.shape
    core = (depth - first[0], height - first[1], width - first[2])
    while row < depth * height:
        if 2 * (used[0] + width) > id_slots.size or 2 * (used[1] + 3 * width) > pair_slots.size:
            return row
        z, y = row // height, row % height
        here, below = planes[z % 2], planes[(z + 1) % 2]
        line, values = here[y], ids[z, y]
        counted = z >= first[0] and y >= first[1]
        x = 0
        while x < width:
            start = x
            value = values[x]
            while x < width and values[x] == value:
                x += 1
            key = np.uint64(value)
            entry = np.int64(0)
            if key != 0:
                place = _find(id_slots, entries.ids, key)
                entry = id_slots[place]
                if entry == EMPTY:
                    entry = np.int64(0)
                    known = False
                    for other in no_object:
                        known |= key == other
                    if not known:
                        entry = used[0]
                        id_slots[place] = entry
                        entries.ids[entry] = key
                        used[0] += 1
            line[start:x] = entry
            if not counted:
                continue
            if start >= first[2] and start > 0 and line[start - 1] != entry:
                _add_faces(line[start - 1], entry, 2, 1, pair_slots, entries, pairs, used)
            begin = max(start, first[2])
            if entry > 0 and begin < x:
                _add_run(
                    entry,
                    z - first[0],
                    y - first[1],
                    begin - first[2],
                    x - first[2],
                    at_border,
                    core,
                    entries,
                )
                if image.size:
                    total = np.int64(0)
                    for column in range(begin - first[2], x - first[2]):
                        total += np.int64(image[z - first[0], y - first[1], column])
                    entries.sums[entry, 3] += total
        if counted and y > 0:
            _compare(line, here[y - 1], first[2], 1, pair_slots, entries, pairs, used)
        if counted and z > 0:
            _compare(line, below[y], first[2], 0, pair_slots, entries, pairs, used)
        row += 1
    return row
