"""Volumes laid over each other: each voxel holds its own place in the whole, so that any mistake shows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.pairs import Laid, lay
from emjax.volumes.store import open_volume
from emjax.volumes.write.ome import ome_attributes

NM = (40, 4, 4)
WHOLE = np.arange(8 * 24 * 32, dtype=np.uint32).reshape(8, 24, 32)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A whole, and parts of it that say where they lie or do not."""
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["ids"] = file["raw"] = WHOLE
        file["part"] = WHOLE[2:6, 8:]
        file["ids"].attrs["resolution"] = NM
    for name, start in (("high", (2, 8, 0)), ("low", (0, 0, 4)), ("far", (6, 0, 0))):
        _write(tmp_path / f"{name}.zarr", start)
    return tmp_path


def _write(path: Path, start: tuple, nm: tuple = NM, shift: float = 0.0) -> None:
    """Writes the voxels of the whole from `start` on, at most 4 x 16 x 28 of them."""
    part = WHOLE[tuple(slice(a, a + n) for a, n in zip(start, (4, 16, 28), strict=True))]
    group = zarr.create_group(path)
    group.create_array("0", data=part)
    origin = (start[0], start[1] + shift, start[2])
    group.attrs["ome"] = ome_attributes("a", 3, nm, origin)


def _lay(folder: Path, *addresses: str, **how) -> Laid:
    names = ("labels", "segmentation", "mask")
    return lay(
        {n: open_volume(f"{folder}/{a}") for n, a in zip(names, addresses, strict=False)}, **how
    )


def _voxels(laid: Laid) -> list[np.ndarray]:
    return [v.read(Box((0, 0, 0), v.size)) for v in laid.volumes.values()]


@pytest.mark.parametrize(
    ("addresses", "box"),
    [
        (("high.zarr", "low.zarr"), np.s_[2:4, 8:16, 4:28]),
        (("whole.h5:ids", "high.zarr"), np.s_[2:6, 8:24, 0:28]),
        (("high.zarr", "whole.h5:ids"), np.s_[2:6, 8:24, 0:28]),
        # A part by its box, against a file that says where it lies.
        (("whole.h5:ids[0:8,0:16,0:28]", "high.zarr"), np.s_[2:6, 8:16, 0:28]),
        # Boxes of files that say where they lie.
        (("high.zarr[1:,:8]", "low.zarr[:,8:]"), np.s_[3:4, 8:16, 4:28]),
        (("high.zarr", "low.zarr", "whole.h5:raw"), np.s_[2:4, 8:16, 4:28]),
        # Same places: nothing to cut or to say.
        (("high.zarr", "whole.h5:ids[2:6,8:,:28]"), np.s_[2:6, 8:24, 0:28]),
    ],
)
def test_what_all_have_is_compared(folder, addresses, box):
    laid = _lay(folder, *addresses)
    for voxels in _voxels(laid):
        np.testing.assert_array_equal(voxels, WHOLE[box])
    assert laid.place == tuple(s.start for s in box)
    first = open_volume(f"{folder}/{addresses[0]}")
    np.testing.assert_array_equal(first.read(Box(laid.moved, WHOLE[box].shape)), WHOLE[box])
    cut = [
        v.size != open_volume(f"{folder}/{a}").size
        for v, a in zip(laid.volumes.values(), addresses, strict=True)
    ]
    assert len(laid.remarks) == any(cut)


def test_what_is_left_out_is_said_with_both_boxes(folder):
    (remark,) = _lay(folder, "high.zarr", "low.zarr").remarks
    assert (
        "[2:6,8:24,0:28] (80:240,32:96,0:112 nm), [0:4,0:16,4:32] (0:160,0:64,16:128 nm)" in remark
    )
    assert "left out: 1,408 of 1,792 of labels, 1,408 of 1,792 of segmentation" in remark


def test_without_places_equal_sizes_are_one_part(folder):
    laid = _lay(folder, "whole.h5:ids[2:6,8:]", "whole.h5:part")
    assert laid.remarks == () and laid.place == (2, 8, 0)
    assert all((voxels == WHOLE[2:6, 8:]).all() for voxels in _voxels(laid))
    _write(folder / "none.zarr", (0, 0, 0))
    (remark,) = _lay(folder, "none.zarr[0:2]", "whole.h5:ids[3:5,:16,:28]").remarks
    assert "no file says where it lies: taken to be the same part" in remark
    for same in ("whole.h5:ids[0:4]", "whole.h5:raw[0:4]"):
        with pytest.raises(InputError, match=r"\[4:8,0:24,0:32\].*\[0:4,0:24,0:32\].*one box"):
            _lay(folder, "whole.h5:raw[4:8]", same)


def test_a_file_without_a_place_lies_where_the_other_does(folder):
    with h5py.File(folder / "bare.h5", "w") as file:
        file["ids"] = WHOLE[2:6, 8:, :28]
    for pair in (("high.zarr", "bare.h5"), ("bare.h5[1:3]", "high.zarr[1:3]")):
        laid = _lay(folder, *pair)
        first, second = _voxels(laid)
        np.testing.assert_array_equal(first, second)
        assert "bare.h5" in laid.remarks[0] and "does not say where it lies" in laid.remarks[0]
        assert laid.place[1:] == (8, 0)


def test_the_address_holds_before_the_file(folder):
    laid = _lay(folder, "high.zarr?offset=0,0,0", "low.zarr?offset=0,0,0")
    assert laid.remarks == () and laid.volumes["labels"].size == (4, 16, 28)
    laid = _lay(folder, "high.zarr?offset=12,8,0", "whole.h5:ids[2:6]?offset=10,0,0")
    assert laid.place == (12, 8, 0) and laid.volumes["labels"].size == (4, 16, 28)
    for text in ("1,2", "1,2,a", "1,2,inf"):
        with pytest.raises(InputError, match=f"offset={text}: needs three numbers"):
            _lay(folder, f"high.zarr?offset={text}", "low.zarr")


def test_what_lies_around_is_cut_without_a_word(folder):
    laid = _lay(folder, "high.zarr", "whole.h5:ids", around=("segmentation",))
    assert laid.remarks == () and laid.volumes["segmentation"].size == (4, 16, 28)
    with pytest.raises(InputError, match="segmentation must have all voxels of the others"):
        _lay(folder, "high.zarr", "low.zarr", around=("segmentation",))


def test_what_cannot_be_compared(folder):
    _write(folder / "half.zarr", (0, 0, 0), shift=0.5)
    _write(folder / "coarse.zarr", (2, 8, 0), nm=(40, 8, 8))
    for pair, message in (
        (("high.zarr", "far.zarr"), r"\[2:6,8:24,0:28\] .*\[6:8,0:16,0:28\] .* share no voxel"),
        (("high.zarr", "half.zarr"), "lie between those of the other: resample one"),
        (("high.zarr", "coarse.zarr"), "are 40,4,4 nm and voxels of .* are 40,8,8 nm; give one"),
        (("whole.h5:ids", "whole.h5:part"), r"labels .* are \(8, 24, 32\) voxels, .*must be equal"),
        (("far.zarr", "whole.h5:part"), r"must be equal, or one lie in the other: give boxes"),
    ):
        with pytest.raises(InputError, match=message):
            _lay(folder, *pair)


def test_voxels_of_another_size_are_said_where_no_file_says_a_place(folder):
    laid = _lay(folder, "whole.h5:ids", "whole.h5:raw?voxel_nm=40,5,4")
    assert "are 40,4,4 nm and voxels of segmentation" in laid.remarks[0]
    assert laid.volumes["labels"].size == WHOLE.shape
