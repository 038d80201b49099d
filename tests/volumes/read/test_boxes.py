"""Damaged, absent and forbidden chunks are named by file and box; only what may pass may be tried again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import zarr

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.create import create_volume
from emjax.volumes.read.boxes import begin_read
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(1, 255, (16, 16, 16), np.uint8)
_WHOLE = Box((0, 0, 0), (16, 16, 16))
# The file of the chunk at z 0, y 8, x 0, and the size of what is lost with it.
_FORMATS = {
    "zarr3": ("c/0/1/0", 8),
    "zarr2": ("0.1.0", 8),
    "sharded": ("0/c/0/1/0", 4),
    "n5": ("0/1/0", 8),
    "precomputed": ("4_4_4/100-108_108-116_100-108", 8),
}


def _make(folder: Path, kind: str) -> Path:
    """Writes the voxels in chunks of 8."""
    path = folder / kind
    if kind in ("zarr2", "zarr3"):
        zarr.create_array(path, data=_VOXELS, chunks=(8, 8, 8), zarr_format=int(kind[-1]))
    elif kind == "sharded":
        store = create_volume(
            path, (16, 16, 16), "uint8", (4, 4, 4), {}, chunk=(4, 4, 4), shard=(8, 8, 8)
        )
        store.write(_VOXELS).result()
    elif kind == "n5":
        metadata = {"dataType": "uint8", "dimensions": [16] * 3, "blockSize": [8] * 3}
        metadata["compression"] = {"type": "gzip"}
        spec = {"driver": "n5", "kvstore": path.as_uri() + "/", "metadata": metadata}
        ts.open(spec, create=True).result().write(_VOXELS.T).result()
    else:
        scale = {"size": [16] * 3, "resolution": [4] * 3, "encoding": "raw", "chunk_size": [8] * 3}
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": path.as_uri() + "/",
            "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
            "scale_metadata": {**scale, "voxel_offset": [100] * 3},
        }
        ts.open(spec, create=True).result().write(_VOXELS.T[..., None]).result()
    return path


@pytest.mark.parametrize("kind", _FORMATS)
def test_a_damaged_chunk(tmp_path: Path, kind: str) -> None:
    path = _make(tmp_path, kind)
    name, side = _FORMATS[kind]
    file = path / name
    file.write_bytes(file.read_bytes()[:-100])
    volume = open_volume(str(path))
    intact = Box((8, 0, 0), (8, 16, 16))
    np.testing.assert_array_equal(volume.read(intact), _VOXELS[intact.slices])
    expected = rf"{kind} cannot be read at \[0:{side},8:{8 + side},0:{side}\]: .*{name}.*; the file is damaged"
    with pytest.raises(InputError, match=expected) as raised:
        volume.read(_WHOLE)
    assert "\n" not in str(raised.value)
    # A part of the volume names voxels of the file, not its own.
    part = open_volume(f"{path}[:,4:]")
    with pytest.raises(InputError, match=expected):
        part.read(Box((0, 2, 0), (16, 10, 16)))


def test_a_flipped_bit_is_noticed_by_the_checksum(tmp_path: Path) -> None:
    path = _make(tmp_path, "sharded")
    file = path / _FORMATS["sharded"][0]
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        InputError, match=r"at \[\d+:\d+,\d+:\d+,\d+:\d+\]: .*c/0/1/0.*Digest mismatch"
    ):
        open_volume(str(path)).read(_WHOLE)


@pytest.mark.parametrize("kind", _FORMATS)
def test_an_absent_chunk(tmp_path: Path, kind: str) -> None:
    path = _make(tmp_path, kind)
    name, side = _FORMATS[kind]
    (path / name).unlink()
    expected = _VOXELS.copy()
    expected[:8, 8:, :8] = 0
    for key in ("", "?missing=fill"):
        np.testing.assert_array_equal(open_volume(f"{path}{key}").read(_WHOLE), expected)
    strict = open_volume(f"{path}?missing=error")
    with pytest.raises(
        InputError,
        match=rf"at \[0:{side},8:{8 + side},0:{side}\]: .*{name}\" is missing; restore it, or add \?missing=fill",
    ):
        strict.read(_WHOLE)
    intact = Box((8, 0, 0), (8, 16, 16))
    np.testing.assert_array_equal(strict.read(intact), _VOXELS[intact.slices])


def test_channels_and_pyramids_refuse_absent_chunks_too(tmp_path: Path) -> None:
    store = create_volume(tmp_path / "a", (2, 16, 16, 16), "uint8", None, {}, chunk=(8, 8, 8))
    # The rest is 0, which writers leave out.
    store[:, 8:].write(3).result()
    assert open_volume(f"{tmp_path}/a").read(_WHOLE).sum() == 2 * 3 * 2048
    with pytest.raises(InputError, match=r"at \[0:8,0:8,0:8\]: .* is missing"):
        open_volume(f"{tmp_path}/a?missing=error").read(_WHOLE)


def test_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("raw", data=_VOXELS, chunks=(8, 8, 8), compression="gzip")
        place = data.id.get_chunk_info_by_coord((0, 8, 0))
        late = file.create_dataset("late", (16, 16, 16), "uint8", chunks=(8, 8, 8))
        late[8:] = 7
    with open(path, "r+b") as file:
        file.seek(place.byte_offset)
        file.write(bytes(place.size))
    volume = open_volume(f"{path}:raw")
    intact = Box((8, 0, 0), (8, 16, 16))
    np.testing.assert_array_equal(volume.read(intact), _VOXELS[intact.slices])
    with pytest.raises(
        InputError, match=r"chunk \[0:8,8:16,0:8\] of .*a\.h5:raw is damaged: .*restore the file"
    ):
        volume.read(_WHOLE)
    assert open_volume(f"{path}:late").read(_WHOLE).sum() == 7 * 2048
    with pytest.raises(InputError, match=r"chunk \[0:8,0:8,0:8\] of .*:late was never written"):
        open_volume(f"{path}:late?missing=error").read(Box((0, 0, 0), (4, 4, 4)))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"a\.h5 cannot be read as HDF5: the file is truncated"):
        open_volume(f"{path}:raw")


class _Fails:
    """A reader that raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_: object) -> None:
        raise self._error


def test_what_may_pass_is_no_input_error() -> None:
    """Loaders and blocks try an OSError again, and end at an InputError."""

    def read(error: Exception) -> None:
        domain = ts.IndexDomain(shape=(4, 4, 4))
        store = ts.virtual_chunked(_Fails(error), rank=3, domain=domain, dtype=ts.uint8)
        begin_read(store, Box((1, 0, 0), (2, 4, 4)), "a.x", (5, 0, 0))()

    with pytest.raises(OSError, match=r"a\.x cannot be read at \[6:8,0:4,0:4\]: .*hiccup"):
        read(OSError(5, "hiccup"))
    with pytest.raises(InputError, match=r"a\.x cannot be read at \[6:8,0:4,0:4\]: broken"):
        read(InputError("broken"))
    with pytest.raises(ValueError, match="^a bug$"):
        read(ValueError("a bug"))


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder, and a user who is not root, since root may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    yield folder
    if root:
        os.seteuid(0)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_no_permission(nobody: Path) -> None:
    with h5py.File(nobody / "a.h5", "w") as file:
        file["raw"] = _VOXELS
    (nobody / "closed").mkdir()
    for kind in ("zarr3", "n5"):
        _make(nobody, kind)
    for name in ("a.h5", "closed", "zarr3/c/0/1/0", "n5/attributes.json"):
        (nobody / name).chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    for name in ("a.h5", "closed", "closed/b.zarr"):
        with pytest.raises(InputError, match=r"no permission to read .*(a\.h5|closed)"):
            open_volume(f"{nobody}/{name}")
    with pytest.raises(InputError, match=r"n5 cannot be read: .*Permission denied"):
        open_volume(f"{nobody}/n5")
    with pytest.raises(InputError, match=r"at \[0:8,8:16,0:8\]: .*c/0/1/0.*Permission denied"):
        open_volume(f"{nobody}/zarr3").read(_WHOLE)
