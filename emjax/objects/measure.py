"""Measures the objects of a volume (sizes, boxes, centres, surfaces, contacts) as sums that add up over blocks.

All sums are integers, so that blocks of any size, added in any order, give exactly the sums of the whole volume;
`emjax.objects.files` converts them to nanometres at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.objects.kernel import measure_rows
from emjax.volumes.label_ids import NONE_NAMED, LabelIds

# A sum is kept as its upper and its lower 32 bits, since 10^15 voxels at coordinates of 10^6 exceed 64 bits.
_LOWER = 0xFFFFFFFF
_COLUMNS = ("ids", "voxels", "start", "stop", "sums", "faces", "border")


@dataclasses.dataclass(frozen=True)
class ObjectSums:
    """Sums of each object; ids are unique and sorted.

    Attributes:
        ids: `[n]` uint64, above 0.
        voxels: `[n]` int64, number of voxels; 0 if the object lies outside the part, which knows only faces of it.
        start: `[n, 3]` int64, first z, y, x of its bounding box; without meaning if it has no voxels.
        stop: `[n, 3]` int64, one past the last z, y, x of its bounding box.
        sums: `[n, 4, 2]` int64, sums over its voxels of z, y, x and of the image, each as upper and lower 32 bits.
        faces: `[n, 3]` int64, number of faces along z, y, x to voxels of other ids or of none, within the volume.
        border: `[n, 3]` int64, number of faces along z, y, x that lie at the border of the volume.
    """

    ids: np.ndarray
    voxels: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    sums: np.ndarray
    faces: np.ndarray
    border: np.ndarray

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.ids)

    @classmethod
    def total(cls, parts: Iterable[ObjectSums]) -> ObjectSums:
        """Returns the sums over parts of a volume; an empty table for no parts."""
        parts = [_EMPTY_SUMS, *parts]
        ids, *columns = (np.concatenate([getattr(p, n) for p in parts]) for n in _COLUMNS)
        order = np.argsort(ids, kind="stable")
        firsts = _firsts(ids[order])
        # Objects without voxels have no box.
        there = columns[0][order][:, None] > 0
        voxels, start, stop, sums, faces, border = (column[order] for column in columns)
        start = np.where(there, start, np.iinfo(np.int64).max)
        stop = np.where(there, stop, np.iinfo(np.int64).min)
        return cls(
            ids[order][firsts],
            _reduced(np.add, voxels, firsts),
            _reduced(np.minimum, start, firsts),
            _reduced(np.maximum, stop, firsts),
            _reduced(np.add, sums, firsts),
            _reduced(np.add, faces, firsts),
            _reduced(np.add, border, firsts),
        )

    def means(self, column: int) -> np.ndarray:
        """Returns the mean over the voxels of each object, `[n]` float64.

        Args:
            column: 0, 1, 2 for z, y, x; 3 for the image.
        """
        upper, lower = self.sums[:, column].T
        upper, lower = upper + (lower >> 32), lower & _LOWER
        # numpy divides sums that fit into 64 bits; Python's unbounded integers divide the others.
        fits = np.abs(upper) < 1 << 30
        total = np.where(fits, (upper << 32) + lower, 0)
        whole, rest = np.divmod(total, self.voxels)
        means = whole + rest / self.voxels
        for row in np.flatnonzero(~fits):
            voxels = int(self.voxels[row])
            large, small = divmod((int(upper[row]) << 32) + int(lower[row]), voxels)
            means[row] = large + small / voxels
        return means

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Returns the fields as named arrays, as files hold them."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ObjectSums:
        """Makes the sums from what `to_arrays` returned."""
        return cls(*(arrays[name] for name in _COLUMNS))


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Pairs of objects that touch, unique and sorted.

    Attributes:
        pairs: `[n, 2]` uint64, the smaller id first.
        faces: `[n, 3]` int64, number of faces along z, y, x that the two share.
    """

    pairs: np.ndarray
    faces: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @classmethod
    def total(cls, parts: Iterable[Contacts]) -> Contacts:
        """Returns the sums over parts of a volume; an empty table for no parts."""
        parts = list(parts)
        pairs = np.concatenate([np.zeros((0, 2), np.uint64), *(part.pairs for part in parts)])
        faces = np.concatenate([np.zeros((0, 3), np.int64), *(part.faces for part in parts)])
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, faces = pairs[order], faces[order]
        firsts = _firsts(pairs)
        return cls(pairs[firsts], _reduced(np.add, faces, firsts))

    def partners(self, ids: np.ndarray) -> np.ndarray:
        """Returns how many other objects each object touches, `[k]` int64.

        Args:
            ids: `[k]` uint64, sorted; must include all ids of the pairs.
        """
        return np.bincount(np.searchsorted(ids, self.pairs).ravel(), minlength=len(ids))


def measure_block(
    ids: np.ndarray,
    read: Box,
    core: Box,
    outer: Box,
    *,
    image: np.ndarray | None = None,
    label_ids: LabelIds = NONE_NAMED,
) -> tuple[ObjectSums, Contacts]:
    """Measures the objects of a block.

    Faces between the block and the voxels below it (`lower_halo`) are counted here; those above it are counted with
    the next block.

    Args:
        ids: `[z, y, x]` integers of `read`.
        read: box that was read: the block and one voxel below it along each axis, as far as the volume reaches.
        core: box of the block.
        outer: box of the volume.
        image: `[z, y, x]` integers of the block, for mean intensities.
        label_ids: which ids stand for no object, being background or ignored.

    Returns:
        The sums, with coordinates in the volume, and the contacts.
    """
    first = np.subtract(core.start, read.start)
    at_border = np.asarray(
        [np.equal(core.start, outer.start), np.equal(core.stop, outer.stop)], bool
    )
    no_objects = [i for i in label_ids.no_objects if i < 2**64]
    entries, pairs = measure_rows(
        _unsigned(ids),
        np.zeros((0, 0, 0), np.uint8) if image is None else image,
        first,
        at_border,
        np.asarray(no_objects, np.uint64),
    )
    # Drop row 0, which is no object, and ids below the block that share no face with it.
    kept = np.flatnonzero((entries.voxels > 0) | (entries.faces > 0).any(axis=1))
    kept = kept[kept > 0]
    kept = kept[np.argsort(entries.ids[kept])]
    voxels, sums = entries.voxels[kept], entries.sums[kept]
    # Fits into 64 bits for blocks of up to 2^30 voxels at coordinates below 2^32.
    sums[:, :3] += voxels[:, None] * np.asarray(core.start)
    box = entries.boxes[kept] + np.tile(core.start, 2)
    ends = np.stack([pairs.keys >> np.uint64(31), pairs.keys & np.uint64((1 << 31) - 1)], axis=1)
    touching = Contacts(np.sort(entries.ids[ends.astype(np.int64)], axis=1), pairs.faces)
    objects = ObjectSums(
        entries.ids[kept],
        voxels,
        box[:, :3],
        box[:, 3:],
        np.stack([sums >> 32, sums & _LOWER], axis=-1),
        entries.faces[kept],
        entries.border[kept],
    )
    return objects, Contacts.total([touching])


def lower_halo(core: Box, outer: Box) -> Box:
    """Returns the box of a block and one voxel below it along each axis, as far as the volume reaches."""
    return Box.between(
        tuple(max(a - 1, b) for a, b in zip(core.start, outer.start, strict=True)), core.stop
    )


def check_image(dtype: np.dtype, name: str) -> None:
    """Checks that sums over an image will be exact.

    Args:
        dtype: type of the image's voxels.
        name: name of the image, for the message.

    Raises:
        InputError: if the type is not an integer of at most 32 bits.
    """
    if dtype.kind not in "ui" or dtype.itemsize > 4:
        raise InputError(
            f"image {name} is {dtype}; mean intensities are of integers of at most 32 bits, such as uint8: leave image "
            "out, or give the volume that it was made of"
        )


def _unsigned(ids: np.ndarray) -> np.ndarray:
    """Returns ids as uint32 or uint64, so that the kernel is compiled for two types only; negative ids become 0."""
    if ids.dtype.kind == "i":
        ids = np.maximum(ids, 0)
    return ids.astype(np.uint32 if ids.dtype.itemsize <= 4 else np.uint64, copy=False)


def _firsts(keys: np.ndarray) -> np.ndarray:
    """Returns the index at which each distinct key first occurs in sorted keys `[n]` or `[n, 2]`."""
    differs = keys[1:] != keys[:-1]
    if differs.ndim == 2:
        differs = differs.any(axis=1)
    return np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), differs]))


def _reduced(add: np.ufunc, values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Reduces the rows from each first index to the next by `add`, which may also be a minimum or maximum."""
    return add.reduceat(values, firsts, axis=0) if len(firsts) else values


_EMPTY_SUMS = ObjectSums(
    np.zeros(0, np.uint64),
    *(np.zeros((0, *shape), np.int64) for shape in ((), (3,), (3,), (4, 2), (3,), (3,))),
)
