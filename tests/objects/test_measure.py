"""Sums of objects: by hand, against scikit-image, and the same for any blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.objects.measure import (
    Contacts,
    ObjectSums,
    check_image,
    lower_halo,
    measure_block,
)
from emjax.volumes.label_ids import UNLABELLED, LabelIds

SHAPE = (11, 19, 23)


def _measure(ids: np.ndarray, size: tuple | None = None, **how) -> tuple[ObjectSums, Contacts]:
    """Adds up blocks; one block when no size is given."""
    outer = Box((0, 0, 0), ids.shape)
    image = how.pop("image", None)
    objects, contacts = [], []
    for block in Grid(outer, size or ids.shape):
        read = lower_halo(block.core, outer)
        part = None if image is None else image[block.core.slices]
        found = measure_block(ids[read.slices].copy(), read, block.core, outer, image=part, **how)
        objects.append(found[0])
        contacts.append(found[1])
    # In another order than they were measured.
    return ObjectSums.total(objects[::-1]), Contacts.total(contacts[::-1])


def _blobs(seed: int, dtype: type = np.uint64) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5)
    return np.digitize(noise, np.quantile(noise, [0.3, 0.5, 0.7, 0.9])).astype(dtype)


def test_by_hand():
    # Object 7 is 1 x 2 x 3 voxels in a corner, object 9 two voxels on top of it, and 4 touches nothing.
    ids = np.zeros((4, 5, 6), np.uint16)
    ids[0, :2, :3] = 7
    ids[1, 0, :2] = 9
    ids[2, 3, 4] = 4
    objects, contacts = _measure(ids, image=(ids * 10).astype(np.uint8))
    assert objects.ids.tolist() == [4, 7, 9] and objects.voxels.tolist() == [1, 6, 2]
    assert objects.start.tolist() == [[2, 3, 4], [0, 0, 0], [1, 0, 0]]
    assert objects.stop.tolist() == [[3, 4, 5], [1, 2, 3], [2, 1, 2]]
    assert objects.means(0).tolist() == [2, 0, 1]
    assert objects.means(1).tolist() == [3, 0.5, 0]
    assert objects.means(2).tolist() == [4, 1, 0.5]
    assert objects.means(3).tolist() == [40, 70, 90]
    # Along z, y, x. Of 7: 6 on top, 3 behind, 2 beside; and 6, 3, 2 at the border. Of 9: 2 above and 2 below it.
    assert objects.faces.tolist() == [[2, 2, 2], [6, 3, 2], [4, 2, 1]]
    assert objects.border.tolist() == [[0, 0, 0], [6, 3, 2], [0, 2, 1]]
    assert contacts.pairs.tolist() == [[7, 9]] and contacts.faces.tolist() == [[2, 0, 0]]
    assert contacts.partners(objects.ids).tolist() == [0, 1, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_equals_regionprops(dtype):
    labels = _blobs(0, dtype)
    image = np.random.default_rng(1).integers(0, 2**16, SHAPE).astype(np.uint16)
    objects, _ = _measure(labels, image=image)
    theirs = regionprops(labels.astype(np.int64), image)
    assert len(theirs) == len(objects) == 4
    for row, region in enumerate(theirs):
        assert objects.ids[row] == region.label and objects.voxels[row] == region.area
        assert (*objects.start[row], *objects.stop[row]) == region.bbox
        centre = [objects.means(axis)[row] for axis in range(3)]
        assert centre == pytest.approx(region.centroid, rel=1e-12)
        assert objects.means(3)[row] == pytest.approx(region.intensity_mean, rel=1e-12)


def test_faces_are_those_between_shifted_arrays():
    labels = _blobs(2)
    objects, contacts = _measure(labels)
    shared: dict[tuple[int, int], list[int]] = {}
    faces = {int(i): [0, 0, 0] for i in objects.ids}
    border = {int(i): [0, 0, 0] for i in objects.ids}
    for axis in range(3):
        line = np.moveaxis(labels, axis, 0)
        for a, b in zip(line[:-1].ravel().tolist(), line[1:].ravel().tolist(), strict=True):
            if a == b:
                continue
            for one in (a, b):
                if one:
                    faces[one][axis] += 1
            if a and b:
                shared.setdefault((min(a, b), max(a, b)), [0, 0, 0])[axis] += 1
        for a in (*line[0].ravel().tolist(), *line[-1].ravel().tolist()):
            if a:
                border[a][axis] += 1
    assert objects.faces.tolist() == list(faces.values())
    assert objects.border.tolist() == list(border.values())
    assert {
        tuple(p): f for p, f in zip(contacts.pairs.tolist(), contacts.faces.tolist(), strict=True)
    } == shared


@pytest.mark.parametrize("size", [(6, 10, 12), (4, 7, 8), (1, 19, 5), (11, 1, 23), (3, 19, 1)])
def test_any_partition_gives_the_same(size):
    # Ids beyond what a double holds, some of which differ in their last bit alone.
    labels = _blobs(3) + np.uint64(2**53) * (_blobs(4) > 1)
    image = np.random.default_rng(1).integers(0, 255, SHAPE).astype(np.uint8)
    whole, contacts = _measure(labels, image=image)
    parts, touching = _measure(labels, size, image=image)
    assert 2**53 in whole.ids.tolist() and 2**53 + 1 in whole.ids.tolist()
    for name, array in whole.to_arrays().items():
        assert np.array_equal(array, getattr(parts, name)), name
    assert np.array_equal(contacts.pairs, touching.pairs)
    assert np.array_equal(contacts.faces, touching.faces)
    for column in range(4):
        assert np.array_equal(whole.means(column), parts.means(column))


def test_many_ids_outgrow_the_tables():
    ids = np.random.default_rng(0).integers(1, 20_000, (20, 30, 40)).astype(np.uint64) << np.uint64(
        40
    )
    objects, contacts = _measure(ids)
    known, counts = np.unique(ids, return_counts=True)
    assert np.array_equal(objects.ids, known) and np.array_equal(objects.voxels, counts)
    steps = [(ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1]), (ids[:, :, 1:], ids[:, :, :-1])]
    assert contacts.faces.sum(axis=0).tolist() == [int((a != b).sum()) for a, b in steps]
    assert len(np.unique(contacts.pairs, axis=0)) == len(contacts)


def test_what_is_no_object():
    labels = _blobs(0).astype(np.int64)
    labels[labels == 1] = -1
    labels[labels == 3] = 5
    objects, contacts = _measure(labels, label_ids=LabelIds((4,), (999, -7)))
    assert objects.ids.tolist() == [2, 5] and contacts.pairs.tolist() == [[2, 5]]
    largest = np.full(SHAPE, UNLABELLED, np.uint64)
    nothing, pairs = _measure(largest)
    assert len(nothing) == len(pairs) == 0 and pairs.partners(nothing.ids).tolist() == []
    assert len(ObjectSums.total([])) == len(Contacts.total([])) == 0


def test_sums_longer_than_64_bits():
    objects, _ = _measure(np.ones((2, 2, 2), np.uint8))
    far = Box((2**40, 0, 2**41 + 1), (2, 2, 2))
    outer = Box((0, 0, 0), (2**42,) * 3)
    part, _ = measure_block(np.ones((2, 2, 2), np.uint8), far, far, outer)
    # 2^22 such blocks by doubling: 2^25 voxels at 2^40.
    total = part
    for _ in range(22):
        total = ObjectSums.total([total, total])
    assert total.voxels.tolist() == [2**25]
    assert sum(int(h) * 2**32 + int(low) for h, low in total.sums[0, :1]) == 2**25 * 2**40 + 2**24
    assert total.means(0).tolist() == [2**40 + 0.5] and total.means(2).tolist() == [2**41 + 1.5]
    assert objects.means(2).tolist() == [0.5]


def test_images_that_have_exact_sums():
    check_image(np.dtype(np.uint16), "a")
    for kind in (np.float32, np.uint64, bool):
        with pytest.raises(InputError, match="image a is .*leave image out"):
            check_image(np.dtype(kind), "a")


def test_a_block_reads_one_voxel_below_it():
    outer = Box((2, 2, 2), (8, 8, 8))
    assert lower_halo(Box((2, 4, 6), (2, 2, 2)), outer) == Box((2, 3, 5), (2, 3, 3))
    blocks = list(Grid(outer, (3, 3, 3)))
    assert len(blocks) == 27
    assert all(outer.contains(lower_halo(block.core, outer)) for block in blocks)
