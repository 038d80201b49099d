"""Arrays that numpy saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.store import open_volume

from .material import VOXELS, check


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", ">i2", "u8", "f4", "?"])
def test_what_numpy_saves(tmp_path: Path, order: str, dtype: str) -> None:
    voxels = VOXELS.astype(dtype)
    np.save(tmp_path / "a.npy", np.array(voxels, order=order))
    check(tmp_path / "a.npy", voxels, None)
    check(f"{tmp_path}/a.npy?voxel_nm=40,8,4", voxels)


def test_channels_come_first(tmp_path: Path) -> None:
    both = np.stack([VOXELS, VOXELS + 1])
    np.save(tmp_path / "a.npy", both)
    check(tmp_path / "a.npy", both, None)
    np.save(tmp_path / "b.npy", np.moveaxis(both, 0, -1))
    with pytest.raises(InputError, match="looks like channels; save it as c, z, y, x"):
        open_volume(f"{tmp_path}/b.npy")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), complex), "holds complex128"),
        (np.zeros((2, 3, 4), [("a", "u1")]), "one integer or float"),
        (np.zeros((3, 4)), "a volume needs z, y, x"),
        (np.zeros((0, 3, 4)), "is empty"),
        (np.array([None]), "holds object"),
    ],
)
def test_refused(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        open_volume(f"{tmp_path}/a.npy")


def test_damaged(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOXELS)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cut short"):
        open_volume(f"{tmp_path}/a.npy")
    (tmp_path / "a.npy").write_bytes(b"PK" + whole)
    with pytest.raises(InputError, match="cannot be read as NPY"):
        open_volume(f"{tmp_path}/a.npy")
