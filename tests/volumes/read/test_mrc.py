"""MRC as mrcfile writes it, with the marks that IMOD and microscopes leave."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.origin import known_origin
from emjax.volumes.store import open_volume

from .material import VOXELS, check


def _write(path: Path, voxels: np.ndarray = VOXELS, angstrom=(40, 80, 400), **head) -> Path:
    compression = {".gz": "gzip", ".bz2": "bzip2"}.get(path.suffix)
    with mrcfile.new(path, compression=compression, overwrite=True) as file:
        file.set_data(voxels)
        file.voxel_size = angstrom
        for name, value in head.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("name", ["a.mrc", "a.rec", "a.mrc.gz", "a.mrc.bz2"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2"])
def test_what_mrcfile_writes(tmp_path: Path, name: str, dtype: str) -> None:
    voxels = (VOXELS // 2).astype(dtype)
    path = _write(tmp_path / name, voxels)
    check(path, voxels)
    assert open_volume(str(path)).slow_random_access == (len(path.suffixes) > 1)


def test_axes_are_those_that_the_header_maps(tmp_path: Path) -> None:
    """Columns are z, rows x, sections y; the cell is x, y, z whatever the order; starts count along the file."""
    turned = np.ascontiguousarray(VOXELS.transpose(1, 2, 0))
    head = {"mapc": 3, "mapr": 1, "maps": 2, "nxstart": 4, "nystart": 5, "nzstart": 6}
    path = _write(tmp_path / "a.mrc", turned, (1, 1, 1), **head, mx=30, my=20, mz=6)
    with mrcfile.mmap(path, "r+") as file:
        file.header.cella = (30 * 40, 20 * 80, 6 * 400)
    check(path, origin=(4, 6, 5))


def test_bytes_without_signs(tmp_path: Path) -> None:
    voxels = VOXELS.astype(np.uint8)
    path = _write(tmp_path / "a.mrc", voxels.view(np.int8))
    assert open_volume(str(path)).dtype == np.int8
    # What the header says of the values.
    _write(path, voxels.view(np.int8), dmax=254)
    check(path, voxels)
    # IMOD without its mark of signs.
    _write(path, voxels.view(np.int8), extra2=_imod(0))
    check(path, voxels)
    _write(path, voxels.view(np.int8), extra2=_imod(1))
    check(path, voxels.view(np.int8))
    _write(path, voxels.view(np.int8), extra2=_imod(16))
    with pytest.raises(InputError, match="half bytes"):
        open_volume(str(path))


def _imod(flags: int) -> bytes:
    """Words 28 to 49 of the header: IMOD's stamp and flags are words 39 and 40."""
    return bytes(44) + np.array([1146047817, flags], "<i4").tobytes() + bytes(32)


def test_origins(tmp_path: Path) -> None:
    origin = np.rec.array((80.0, 160.0, -400.0), [("x", "f4"), ("y", "f4"), ("z", "f4")])
    path = _write(tmp_path / "a.mrc", origin=origin, nxstart=9)
    check(path, origin=(-1, 2, 2))
    _write(path, origin=origin, extra2=_imod(0))
    check(path, origin=(1, -2, -2))
    _write(path, origin=origin, extra2=_imod(4))
    check(path, origin=(-1, 2, 2))


def test_sizes_that_no_file_means(tmp_path: Path) -> None:
    check(_write(tmp_path / "a.mrc", angstrom=(1, 1, 1)), voxel_nm=None)
    check(_write(tmp_path / "b.mrc", angstrom=(0, 0, 0)), voxel_nm=None)
    check(_write(tmp_path / "c.mrc", angstrom=(-4, 4, 4)), voxel_nm=None)
    check(f"{tmp_path}/c.mrc?voxel_nm=40,8,4")


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_a_file_cut_short(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match="copy it again"):
        open_volume(str(path)).store.read().result()


def test_refused(tmp_path: Path) -> None:
    _write(tmp_path / "c.mrc", VOXELS.astype(np.complex64))
    with pytest.raises(InputError, match="mode 4, complex numbers"):
        open_volume(f"{tmp_path}/c.mrc")
    _write(tmp_path / "s.mrc", VOXELS.reshape(2, 3, 20, 30))
    with pytest.raises(InputError, match="holds 2 volumes"):
        open_volume(f"{tmp_path}/s.mrc")
    np.save(tmp_path / "n.npy", VOXELS)
    (tmp_path / "n.npy").rename(tmp_path / "n.mrc")
    with pytest.raises(InputError, match="n.mrc .*MRC"):
        open_volume(f"{tmp_path}/n.mrc")
    (tmp_path / "e.mrc").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as MRC"):
        open_volume(f"{tmp_path}/e.mrc")


def test_a_part_says_where_it_lies(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.mrc", nzstart=100)
    part = open_volume(f"{path}[2:4,:,:]")
    np.testing.assert_array_equal(part.store.read().result(), VOXELS[2:4])
    assert known_origin(part) == (102, 0, 0)
