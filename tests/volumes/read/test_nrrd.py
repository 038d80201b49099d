"""NRRD as pynrrd writes it: attached and detached, plain and compressed, with and without directions."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.store import open_volume

from .material import VOXELS, check

_SPACE = {
    "space dimension": 3,
    "space units": ["nm"] * 3,
    "space directions": np.diag([4.0, 8, 40]),
}


def _write(path: Path, voxels=VOXELS.T, **header) -> Path:
    about = {name.replace("_", " "): value for name, value in header.items()}
    nrrd.write(str(path), voxels, about)
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", "u8", "f4", "f8"])
def test_what_pynrrd_writes(tmp_path: Path, name: str, encoding: str, dtype: str) -> None:
    voxels = VOXELS.astype(dtype)
    check(_write(tmp_path / name, voxels.T, **_SPACE, encoding=encoding), voxels)


def test_places(tmp_path: Path) -> None:
    origin = np.array([40.0, 160, -40])
    check(_write(tmp_path / "a.nrrd", **_SPACE, space_origin=origin), origin=(-1, 20, 10))


def test_sizes_are_known_with_units_only(tmp_path: Path) -> None:
    check(_write(tmp_path / "a.nrrd", spacings=[4, 8, 40], units=["nm"] * 3))
    check(_write(tmp_path / "b.nrrd", spacings=[4e-3, 8e-3, 40e-3], units=["um"] * 3))
    check(_write(tmp_path / "c.nrrd", spacings=[4, 8, 40]), voxel_nm=None)
    bare = {k: v for k, v in _SPACE.items() if k != "space units"}
    check(_write(tmp_path / "d.nrrd", **bare), voxel_nm=None)


def test_directions_name_the_axes(tmp_path: Path) -> None:
    """An array that was written with z closest in memory."""
    turned = {**_SPACE, "space directions": np.array([[0, 0, 40.0], [0, 8, 0], [4, 0, 0]])}
    check(_write(tmp_path / "a.nrrd", VOXELS, **turned))
    mirrored = {**_SPACE, "space directions": np.diag([4.0, -8, 40])}
    with pytest.raises(InputError, match="mirrored: y runs backwards"):
        open_volume(str(_write(tmp_path / "b.nrrd", **mirrored)))


def test_channels_and_times(tmp_path: Path) -> None:
    both = np.stack([VOXELS, VOXELS + 1])
    directions = np.array([[np.nan] * 3, [4, 0, 0], [0, 8, 0], [0, 0, 40.0]])
    space = {**_SPACE, "space directions": directions}
    # The channels of a voxel lie together.
    mixed = np.moveaxis(both, 0, -1)
    path = _write(tmp_path / "a.nrrd", mixed.T, **space, kinds=["vector", *["domain"] * 3])
    check(path, both)
    path = _write(tmp_path / "b.nrrd", mixed.T, **space, kinds=["time", *["domain"] * 3])
    check(f"{path}?t=1", VOXELS + 1)
    with pytest.raises(InputError, match="three of space"):
        open_volume(str(_write(tmp_path / "c.nrrd", mixed.T)))
    path = _write(tmp_path / "d.nrrd", mixed.T, **space, kinds=["RGB-color", *["domain"] * 3])
    with pytest.raises(InputError, match="kind rgb-color"):
        open_volume(str(path))


def test_skips_of_a_detached_header(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"a line\n" + bytes(3) + VOXELS.tobytes())
    head = (
        "NRRD0004\ntype: uint16\ndimension: 3\nsizes: 30 20 6\nendian: little\nencoding: raw\n"
        'spacings: 4 8 40\nunits: "nm" "nm" "nm"\n'
    )
    for skip in ("line skip: 1\nbyte skip: 3\n", "byte skip: -1\n"):
        (tmp_path / "a.nhdr").write_text(f"{head}{skip}data file: a.raw\n")
        check(tmp_path / "a.nhdr")


def test_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nhdr", **_SPACE, encoding="raw")
    next(tmp_path.glob("a.raw*")).unlink()
    with pytest.raises(InputError, match="a header, and .*, which holds its voxels, is not there"):
        open_volume(str(path))
    path = _write(tmp_path / "b.nrrd", **_SPACE, encoding="raw")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cut short"):
        open_volume(str(path))
    path = _write(tmp_path / "c.nrrd", **_SPACE, encoding="ascii")
    with pytest.raises(InputError, match="written as ascii; write it as raw or gzip"):
        open_volume(str(path))
    (tmp_path / "d.nrrd").write_text("no header at all")
    with pytest.raises(InputError, match="cannot be read as NRRD"):
        open_volume(f"{tmp_path}/d.nrrd")
