"""The objects of a volume: sizes, boxes, centres, surfaces and who touches whom, as sums that blocks add up to.

Every number is an integer, so that the sums of any blocks, in any order, are those of the whole volume to the last bit;
nanometres come at the very end (`emjax.objects.files`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.objects.kernel import measure_rows
from emjax.volumes.label_ids import NONE_NAMED, LabelIds

# A sum is kept as its upper and its lower 32 bits: 10^15 voxels at coordinates of 10^6 are more than 64 bits hold.
_LOWER = 0xFFFFFFFF
_COLUMNS = ("ids", "voxels", "start", "stop", "sums", "faces", "border")


@dataclasses.dataclass(frozen=True)
class ObjectSums:
    """What was found of each object; ids are unique and sorted.

    Attributes:
        ids: `[n]` uint64, above 0.
        voxels: `[n]` int64; 0 where the object is beyond the part, and only faces of it are known.
        start: `[n, 3]` int64 z, y, x of its box; of no meaning without voxels.
        stop: `[n, 3]` int64, one past the last.
        sums: `[n, 4, 2]` int64, sums over its voxels of z, y, x and of the image, each as a number of 2^32 and a rest.
        faces: `[n, 3]` int64, faces along z, y, x to voxels of other ids or of none, within the volume.
        border: `[n, 3]` int64, faces along z, y, x that lie at the border of the volume.
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
        """Adds up what was found in parts of a volume; none at all is nothing."""
        parts = [_EMPTY_SUMS, *parts]
        ids, *columns = (np.concatenate([getattr(p, n) for p in parts]) for n in _COLUMNS)
        order = np.argsort(ids, kind="stable")
        firsts = _firsts(ids[order])
        # What has no voxels has no box.
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
        # What fits into 64 bits is divided by numpy; Python's numbers are as long as need be.
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
        """Returns all of it as named arrays, as files hold them."""
        return {name: getattr(self, name) for name in _COLUMNS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ObjectSums:
        """Returns what `to_arrays` was given."""
        return cls(*(arrays[name] for name in _COLUMNS))


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Pairs of objects that touch, unique and sorted.

    Attributes:
        pairs: `[n, 2]` uint64, the smaller id first.
        faces: `[n, 3]` int64, faces along z, y, x that the two share.
    """

    pairs: np.ndarray
    faces: np.ndarray

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.pairs)

    @classmethod
    def total(cls, parts: Iterable[Contacts]) -> Contacts:
        """Adds up what was found in parts of a volume; none at all is nothing."""
        parts = list(parts)
        pairs = np.concatenate([np.zeros((0, 2), np.uint64), *(part.pairs for part in parts)])
        faces = np.concatenate([np.zeros((0, 3), np.int64), *(part.faces for part in parts)])
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, faces = pairs[order], faces[order]
        firsts = _firsts(pairs)
        return cls(pairs[firsts], _reduced(np.add, faces, firsts))

    def partners(self, ids: np.ndarray) -> np.ndarray:
        """Returns how many others each object touches, `[k]` int64.

        Args:
            ids: `[k]` uint64, sorted, all that occur in the pairs among them.
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

    Faces between the block and what lies below it (`lower_halo`) are counted here, those above it with the next block.

    Args:
        ids: `[z, y, x]` integers of `read`.
        read: what was read: the block and one voxel below it along each axis, as far as the volume goes.
        core: the block.
        outer: the volume.
        image: `[z, y, x]` integers of the block, for mean intensities.
        label_ids: which ids stand for no object: what is background or unknown.

    Returns:
        Sums with places in the volume, and contacts.
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
    # Row 0 is no object; those that were read below the block may have no face with it.
    kept = np.flatnonzero((entries.voxels > 0) | (entries.faces > 0).any(axis=1))
    kept = kept[kept > 0]
    kept = kept[np.argsort(entries.ids[kept])]
    voxels, sums = entries.voxels[kept], entries.sums[kept]
    # Fits: a block of 2^30 voxels at coordinates below 2^32.
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
    """Returns a block and one voxel below it along each axis, as far as the volume goes."""
    return Box.between(
        tuple(max(a - 1, b) for a, b in zip(core.start, outer.start, strict=True)), core.stop
    )


def check_image(dtype: np.dtype, name: str) -> None:
    """Checks that the sums of an image are exact.

    Args:
        dtype: of the image.
        name: for the message.

    Raises:
        InputError: if it is none of integers of at most 32 bits.
    """
    if dtype.kind not in "ui" or dtype.itemsize > 4:
        raise InputError(
            f"image {name} is {dtype}; mean intensities are of integers of at most 32 bits, such as uint8: leave image "
            "out, or give the volume that it was made of"
        )


def _unsigned(ids: np.ndarray) -> np.ndarray:
    """Returns ids as one of two types, so that no more is compiled; negative ones become 0."""
    if ids.dtype.kind == "i":
        ids = np.maximum(ids, 0)
    return ids.astype(np.uint32 if ids.dtype.itemsize <= 4 else np.uint64, copy=False)


def _firsts(keys: np.ndarray) -> np.ndarray:
    """Where in sorted keys, `[n]` or `[n, 2]`, each one is first."""
    differs = keys[1:] != keys[:-1]
    if differs.ndim == 2:
        differs = differs.any(axis=1)
    return np.flatnonzero(np.concatenate([np.ones(min(len(keys), 1), bool), differs]))


def _reduced(add: np.ufunc, values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Adds the rows from each first one to the next, in whatever way."""
    return add.reduceat(values, firsts, axis=0) if len(firsts) else values


_EMPTY_SUMS = ObjectSums(
    np.zeros(0, np.uint64),
    *(np.zeros((0, *shape), np.int64) for shape in ((), (3,), (3,), (4, 2), (3,), (3,))),
)
