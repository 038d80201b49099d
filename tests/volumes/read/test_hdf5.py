"""HDF5 files as h5py writes them."""

from __future__ import annotations

import fcntl
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes.origin import known_origin
from emjax.volumes.read import hdf5
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(0, 255, (8, 16, 24), np.uint8)


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "bool", "uint64"])
@pytest.mark.parametrize("chunks", [None, (4, 8, 8)])
def test_values(tmp_path: Path, dtype: str, chunks: tuple | None) -> None:
    voxels = _VOXELS.astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("anything", data=voxels, chunks=chunks)
    volume = open_volume(f"{tmp_path}/a.h5")
    assert volume.dtype == voxels.dtype.newbyteorder("=")
    assert volume.voxel_nm is None
    assert not volume.slow_random_access
    box = Box((1, 3, 5), (6, 9, 11))
    np.testing.assert_array_equal(volume.read(box), voxels[box.slices])
    np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_cremi_layout(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        raw = file.create_dataset("volumes/raw", data=_VOXELS, compression="gzip")
        ids = file.create_dataset("volumes/labels/neuron_ids", data=_VOXELS.astype(np.uint64))
        raw.attrs["resolution"] = ids.attrs["resolution"] = (40.0, 4.0, 4.0)
    volume = open_volume(f"{tmp_path}/a.hdf")
    assert volume.voxel_nm == (40, 4, 4)
    assert volume.dtype == np.uint8
    assert volume.slow_random_access
    labels = open_volume(f"{tmp_path}/a.hdf:volumes/labels/neuron_ids[2:4]")
    np.testing.assert_array_equal(labels.store.read().result(), _VOXELS[2:4])


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        ("file", "voxel_size_nm_zyx", (30, 6, 5)),
        ("data", "voxel_size", (30, 6, 5)),
        ("data", "element_size_um", (0.03, 0.006, 0.005)),
    ],
)
def test_voxel_size(tmp_path: Path, owner: str, name: str, value: tuple) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=_VOXELS)
        {"file": file, "data": data}[owner].attrs[name] = value
    np.testing.assert_allclose(open_volume(f"{tmp_path}/a.h5").voxel_nm, (30, 6, 5))
    assert open_volume(f"{tmp_path}/a.h5?voxel_nm=1,2,3").voxel_nm == (1, 2, 3)


def test_a_crop_reads_only_its_chunks_and_those_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=_VOXELS, chunks=(4, 8, 8))
    volume = open_volume(f"{tmp_path}/a.h5")
    parts = []
    original = hdf5._Dataset.__call__

    def counted(self: hdf5._Dataset, part: tuple[slice, ...]) -> np.ndarray:
        parts.append(tuple(s.start for s in part))
        return original(self, part)

    monkeypatch.setattr(hdf5._Dataset, "__call__", counted)
    # Voxels 2 to 5 of z lie in both chunks of z, 9 to 14 of y in one, 7 to 9 of x in two.
    box = Box((2, 9, 7), (4, 6, 3))
    for _ in range(3):
        np.testing.assert_array_equal(volume.read(box), _VOXELS[box.slices])
    assert sorted(parts) == [(0, 8, 0), (0, 8, 8), (4, 8, 0), (4, 8, 8)]


def test_many_threads_and_a_pickled_copy(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("raw", data=_VOXELS, chunks=(2, 4, 4), compression="gzip")
    volume = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/a.h5")))
    boxes = [Box((z, y, x), (3, 5, 6)) for z in range(5) for y in (0, 7) for x in (1, 9, 18)]
    with ThreadPoolExecutor(8) as threads:
        for box, crop in zip(boxes, threads.map(volume.read, boxes), strict=True):
            np.testing.assert_array_equal(crop, _VOXELS[box.slices])


def test_a_rewritten_file_is_read_anew(tmp_path: Path) -> None:
    for voxels in (_VOXELS, 255 - _VOXELS[:4]):
        (tmp_path / "a.h5").unlink(missing_ok=True)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["raw"] = voxels
        volume = open_volume(f"{tmp_path}/a.h5")
        np.testing.assert_array_equal(volume.store.read().result(), voxels)


def test_more_files_than_are_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_MOST_FILES", 2)
    monkeypatch.setattr(hdf5, "_FILES", {})
    volumes = []
    for number in range(4):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["raw"] = np.full((4, 4, 4), number, np.uint8)
        volumes.append(open_volume(f"{tmp_path}/{number}.h5", context=ts.Context()))
    box = Box((1, 1, 1), (1, 1, 1))
    for _ in range(2):
        assert [int(v.read(box)[0, 0, 0]) for v in volumes] == [0, 1, 2, 3]
        assert len(hdf5._FILES) == 2


def test_real_files(shared_data: Path) -> None:
    cases = {
        "neurons/fib25_ts2.h5:labels": ((250, 250, 250), np.uint32, (10, 10, 10)),
        "neurons/isbi2012_z00-17.h5:raw[12:15]": ((3, 512, 512), np.uint8, (50, 4, 4)),
        "neurons/gala_fib_train.h5:p1": ((50, 100, 200), np.float16, (10, 10, 10)),
        "organelles/epfl_multiclass_dev.h5": ((22, 6, 768, 1024), np.uint8, (5, 5, 5)),
        "organelles/vnc_stack1_x000-639.h5:mito[:,:,464:544]": (
            (20, 1024, 80),
            np.uint8,
            (50, 4.6, 4.6),
        ),
    }
    for address, expected in cases.items():
        volume = open_volume(f"{shared_data}/{address}")
        assert (volume.shape, volume.dtype, volume.voxel_nm) == expected
    volume = open_volume(f"{shared_data}/neurons/isbi2012_z00-17.h5:raw[12:15]")
    with h5py.File(shared_data / "neurons/isbi2012_z00-17.h5") as file:
        voxels = file["raw"][13:15, 100:140, 250:270]
    np.testing.assert_array_equal(volume.read(Box((1, 100, 250), (2, 40, 20))), voxels)


def test_mistakes(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"], file["two"], file["line"] = _VOXELS, _VOXELS, np.zeros(3)
        file["words"] = [[[b"a"]]]
    with pytest.raises(
        InputError, match=r"name a dataset, as in a.h5:NAME; it holds:.*one \(8, 16"
    ):
        open_volume(f"{tmp_path}/a.h5")
    with pytest.raises(InputError, match="no dataset 'three'; it holds:.*two"):
        open_volume(f"{tmp_path}/a.h5:three")
    with pytest.raises(InputError, match="needs z, y, x"):
        open_volume(f"{tmp_path}/a.h5:line")
    with pytest.raises(InputError, match="not numbers"):
        open_volume(f"{tmp_path}/a.h5:words")
    (tmp_path / "b.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="b.h5 cannot be read as HDF5"):
        open_volume(f"{tmp_path}/b.h5")


def _tags(order: str) -> str:
    axes = [{"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in order]
    return json.dumps({"axes": axes})


@pytest.mark.parametrize("order", ["xyz", "zyx", "tzyxc", "zcyx", "yxz"])
def test_axes_that_the_file_names(tmp_path: Path, order: str) -> None:
    """By the axistags of ilastik, by dimension scales, and by an attribute."""
    turned = _VOXELS.transpose(["zyx".index(name) for name in order if name in "zyx"])
    for axis, name in enumerate(order):
        if name in "tc":
            turned = np.expand_dims(turned, axis)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("tags", "labels", "attribute"):
            data = file.create_dataset(
                name, data=turned, chunks=tuple(min(4, n) for n in turned.shape)
            )
            data.attrs["resolution"] = [{"z": 40, "y": 8, "x": 4}.get(a, 1) for a in order]
            data.attrs["offset"] = [{"z": 80, "y": 8, "x": 40}.get(a, 0) for a in order]
        file["tags"].attrs["axistags"] = _tags(order)
        for axis, name in enumerate(order):
            file["labels"].dims[axis].label = name.upper()
        file["attribute"].attrs["axes"] = order
    for name in ("tags", "labels", "attribute"):
        volume = open_volume(f"{tmp_path}/a.h5:{name}")
        np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)
        assert volume.voxel_nm == (40, 8, 4) and known_origin(volume) == (2, 1, 10)


def test_axes_that_cannot_be_understood(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["t"] = _VOXELS
        file["t"].attrs["axistags"] = _tags("tyx")
        file["two"] = np.stack([_VOXELS, _VOXELS])
        file["two"].attrs["axistags"] = _tags("tzyx")
        file["five"] = np.zeros((2, 2, *_VOXELS.shape), np.uint8)
    with pytest.raises(
        InputError, match="axes t of 8, y of 16, x of 24; a volume needs z, y and x"
    ):
        open_volume(f"{tmp_path}/a.h5:t")
    with pytest.raises(InputError, match="axes t of 2, .*; emjax reads one time"):
        open_volume(f"{tmp_path}/a.h5:two")
    with pytest.raises(InputError, match="needs z, y, x or c, z, y, x"):
        open_volume(f"{tmp_path}/a.h5:five")


def test_datasets_by_links_of_every_kind(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = _VOXELS
        file["hard"] = file["volumes/raw"]
        file["soft"] = h5py.SoftLink("/volumes/raw")
        file["loop"] = h5py.SoftLink("/")
        file["lost"] = h5py.SoftLink("/nowhere")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["image"] = h5py.ExternalLink("a.h5", "/volumes/raw")
        file["gone"] = h5py.ExternalLink("c.h5", "/raw")
    for address in ("a.h5", "a.h5:hard", "a.h5:soft", "a.h5:loop/hard", "b.h5", "b.h5:image"):
        copy = pickle.loads(pickle.dumps(open_volume(f"{tmp_path}/{address}")))
        np.testing.assert_array_equal(copy.store.read().result(), _VOXELS)
    with pytest.raises(InputError, match="a.h5:lost is a link to /nowhere, which is not there"):
        open_volume(f"{tmp_path}/a.h5:lost")
    with pytest.raises(InputError, match=r"b.h5:gone is a link to /raw in .*c\.h5, which is not"):
        open_volume(f"{tmp_path}/b.h5:gone")
    with pytest.raises(
        InputError, match="a.h5:volumes is a group, no dataset; it holds: volumes/raw"
    ):
        open_volume(f"{tmp_path}/a.h5:volumes")


def test_a_file_that_another_program_has_open(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = _VOXELS
    with open(tmp_path / "a.h5", "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another program has it open .*HDF5_USE_FILE_LOCKING"):
            open_volume(f"{tmp_path}/a.h5")


def test_attributes_as_other_programs_write_them(tmp_path: Path) -> None:
    """Text of fixed length, which the library's own call for labels crashes on, and types that h5py cannot read."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("raw", data=_VOXELS.transpose(1, 0, 2))
        data.attrs["DIMENSION_LABELS"] = np.array([b"y", b"z", b"x"])
        data.attrs["resolution"] = (0.004, 0.04, 0.005)
        data.attrs["units"] = np.array([b"um"] * 3)
        data.attrs["offset"] = (0.008, 0.04, 0.0)
        opaque, scalar = h5py.h5t.create(h5py.h5t.OPAQUE, 16), h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(data.id, b"voxel_size", opaque, scalar)
    volume = open_volume(f"{tmp_path}/a.h5")
    np.testing.assert_array_equal(volume.store.read().result(), _VOXELS)
    assert volume.voxel_nm == pytest.approx((40, 4, 5))
    assert known_origin(volume) == (1, 2, 0)
