"""Arrays none of whose chunks are there, in every format; and those of which some are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import tifffile
import zarr

from emjax.errors import InputError
from emjax.volumes.create import create_volume
from emjax.volumes.read.chunks import Chunks
from emjax.volumes.store import open_volume

SHAPE = (8, 16, 16)
_VOXELS = np.random.default_rng(0).integers(1, 255, SHAPE, np.uint8)


def _zarr2(path: Path) -> None:
    zarr.create_array(path, shape=SHAPE, chunks=(4, 8, 8), dtype="u1", zarr_format=2)


def _zarr3(path: Path) -> None:
    zarr.create_array(path, shape=SHAPE, chunks=(4, 8, 8), dtype="u1")


def _sharded(path: Path) -> None:
    zarr.create_array(path, shape=SHAPE, chunks=(2, 4, 4), shards=(4, 8, 8), dtype="u1")


def _flat_names(path: Path) -> None:
    key = {"name": "default", "separator": "."}
    zarr.create_array(path, shape=SHAPE, chunks=(4, 8, 8), dtype="u1", chunk_key_encoding=key)


def _n5(path: Path) -> None:
    metadata = {
        **{"dataType": "uint8", "dimensions": SHAPE[::-1], "blockSize": [8, 8, 4]},
        **{"compression": {"type": "raw"}},
    }
    spec = {"driver": "n5", "kvstore": f"file://{path}/", "metadata": metadata}
    ts.open(spec, create=True).result()


def _precomputed(path: Path, **more: object) -> None:
    scale = {
        **{"size": SHAPE[::-1], "resolution": [4, 4, 40], "encoding": "raw"},
        **{"chunk_size": [8, 8, 4], "voxel_offset": [-8, 16, 0], **more},
    }
    about = {"type": "image", "data_type": "uint8", "num_channels": 1}
    spec = {
        **{"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/"},
        **{"multiscale_metadata": about, "scale_metadata": scale},
    }
    ts.open(spec, create=True).result()


def _precomputed_sharded(path: Path) -> None:
    sharding = {
        **{"@type": "neuroglancer_uint64_sharded_v1", "hash": "murmurhash3_x86_128"},
        **{"preshift_bits": 1, "minishard_bits": 1, "shard_bits": 5},
    }
    _precomputed(path, sharding=sharding)


EMPTY = {
    "zarr2": (_zarr2, "0.0.0"),
    "zarr3": (_zarr3, "c/0/0/0"),
    "sharded": (_sharded, "c/0/0/0"),
    "flat_names": (_flat_names, "c.0.0.0"),
    "n5": (_n5, "0/0/0"),
    "precomputed": (_precomputed, "4_4_40/-8-0_16-24_0-4"),
    "precomputed_sharded": (_precomputed_sharded, "4_4_40/00.shard"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_array_without_any_chunk_is_refused(tmp_path: Path, name: str) -> None:
    make, first = EMPTY[name]
    make(tmp_path / "a")
    for key in ("", "?missing=error"):
        with pytest.raises(InputError, match=f"none of its chunks is there, such as .*/{first}: "):
            open_volume(f"{tmp_path}/a{key}")
    assert not open_volume(f"{tmp_path}/a?missing=fill").store.read().result().any()


@pytest.mark.parametrize("name", EMPTY)
def test_one_chunk_anywhere_is_enough(tmp_path: Path, name: str) -> None:
    """Sparse labels: the rest is the fill value, unless that is refused."""
    make, _ = EMPTY[name]
    make(tmp_path / "a")
    volume = open_volume(f"{tmp_path}/a?missing=fill")
    spec = volume.store.spec(retain_context=False).to_json()
    spec.pop("fill_missing_data_reads", None)
    writable = ts.open(spec, open=True).result()
    writable[5, 3, 12] = 7
    found = open_volume(f"{tmp_path}/a").store.read().result()
    assert found[5, 3, 12] == 7 and found.sum() == 7
    strict = open_volume(f"{tmp_path}/a?missing=error")
    with pytest.raises(InputError, match=r"missing=fill"):
        strict.read(strict.box)


def test_a_chunk_that_no_probe_meets_is_found_by_its_name(tmp_path: Path) -> None:
    chunks = Chunks(f"file://{tmp_path}/", (90, 90, 90), lambda i: "c/" + "/".join(map(str, i)))
    (tmp_path / "c/17/3").mkdir(parents=True)
    (tmp_path / "c/17/3/notes.txt").write_text("")
    assert not chunks.any_there()
    (tmp_path / "c/17/3/71").write_text("")
    assert chunks.any_there()
    # Nothing is looked for where there are no voxels.
    assert Chunks(f"file://{tmp_path}/x/", (0, 1, 1), str).any_there()


def test_a_segmentation_of_emjax_in_which_nothing_was_found(tmp_path: Path) -> None:
    create_volume(tmp_path / "a.zarr", SHAPE, "uint64", (40, 4, 4), {"kind": "segmentation"})
    assert not open_volume(f"{tmp_path}/a.zarr").store.read().result().any()


def test_an_array_that_was_copied_without_its_chunks(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a", mode="w", zarr_format=2)
    group.create_array("s0", data=_VOXELS, chunks=(4, 8, 8))
    level = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}]}
    axes = [{"name": n} for n in "zyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [level]}]
    shutil.rmtree(tmp_path / "a" / "s0")
    (tmp_path / "a" / "s0").mkdir()
    about = {"shape": SHAPE, "chunks": [4, 8, 8], "dtype": "|u1", "zarr_format": 2, "order": "C"}
    about |= {"compressor": None, "filters": None, "fill_value": 0}
    (tmp_path / "a" / "s0" / ".zarray").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"a/s0 has metadata, but none of its chunks is there"):
        open_volume(f"{tmp_path}/a")


def test_hdf5_that_was_never_written(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("whole", shape=SHAPE, dtype="u1")
        file.create_dataset("chunks", shape=SHAPE, dtype="u1", chunks=(4, 8, 8))
        file.create_dataset("part", shape=SHAPE, dtype="u1", chunks=(4, 8, 8))[:4, :8, :8] = 1
        file.create_dataset("none", shape=(0, 16, 16), dtype="u1")
    for name in ("whole", "chunks"):
        for key in ("", "?missing=error"):
            with pytest.raises(InputError, match=f"a.h5:{name} has a shape, but no voxel"):
                open_volume(f"{tmp_path}/a.h5:{name}{key}")
        assert not open_volume(f"{tmp_path}/a.h5:{name}?missing=fill").store.read().result().any()
    assert open_volume(f"{tmp_path}/a.h5:part").store.read().result().sum() == 4 * 8 * 8
    with pytest.raises(InputError, match="none is empty: it has axes of"):
        open_volume(f"{tmp_path}/a.h5:none")


def test_hdf5_whose_other_files_are_lost(tmp_path: Path) -> None:
    virtual = h5py.VirtualLayout(SHAPE, "u1")
    part = h5py.VirtualLayout(SHAPE, "u1")
    for z in range(SHAPE[0]):
        with h5py.File(tmp_path / f"z{z}.h5", "w") as file:
            file["data"] = _VOXELS[z]
        source = h5py.VirtualSource(f"z{z}.h5", "data", shape=SHAPE[1:])
        virtual[z] = source
        if z < 6:
            part[z] = source
    raw = tmp_path / "voxels.raw"
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("all", virtual)
        file.create_virtual_dataset("part", part)
        file.create_dataset("external", data=_VOXELS, external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
    for name in ("all", "external"):
        found = open_volume(f"{tmp_path}/a.h5:{name}?missing=error").store.read().result()
        np.testing.assert_array_equal(found, _VOXELS)
    # What no source covers is absent as a chunk is.
    assert open_volume(f"{tmp_path}/a.h5:part").store.read().result()[6:].max() == 0
    with pytest.raises(InputError, match="its sources cover 1536 of 2048 voxels"):
        open_volume(f"{tmp_path}/a.h5:part?missing=error")
    (tmp_path / "z3.h5").unlink()
    for key in ("", "?missing=error"):
        with pytest.raises(InputError, match=r"a.h5:all lacks 1 of 8 source files: .*z3\.h5; add"):
            open_volume(f"{tmp_path}/a.h5:all{key}")
    filled = open_volume(f"{tmp_path}/a.h5:all?missing=fill").store.read().result()
    assert not filled[3].any() and (filled[4] == _VOXELS[4]).all()
    with h5py.File(tmp_path / "z3.h5", "w") as file:
        file["other"] = _VOXELS[3]
    with pytest.raises(InputError, match=r"lacks 1 of 8 source files: .*z3\.h5:data"):
        open_volume(f"{tmp_path}/a.h5:all")
    raw.write_bytes(raw.read_bytes()[:100])
    with pytest.raises(InputError, match=r"voxels\.raw \(cut short: 100 of 2048 bytes\)"):
        open_volume(f"{tmp_path}/a.h5:external")
    raw.unlink()
    with pytest.raises(InputError, match=r"external lacks 1 of 1 source files: .*voxels\.raw"):
        open_volume(f"{tmp_path}/a.h5:external")


def _forget(path: Path, page: int, strip: int) -> None:
    """Takes a strip or tile out of a TIFF, as a writer that was killed leaves it: no place, no bytes."""
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages[page].tags
        for name in ("TileOffsets", "TileByteCounts", "StripOffsets", "StripByteCounts"):
            if name in tags:
                values = list(tags[name].value)
                values[strip] = 0
                tags[name].overwrite(values)


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 16}])
def test_tiff_with_absent_strips_or_tiles(tmp_path: Path, layout: dict) -> None:
    voxels = np.random.default_rng(0).integers(1, 255, (5, 32, 32), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", voxels, compression="zlib", **layout)
    np.testing.assert_array_equal(
        open_volume(f"{tmp_path}/a.tif?missing=error").store.read().result(), voxels
    )
    _forget(tmp_path / "a.tif", 1, 0)
    for key in ("", "?missing=error"):
        with pytest.raises(InputError, match=r"a\.tif lacks 1 of 5 sections .*: section 1; add"):
            open_volume(f"{tmp_path}/a.tif{key}")
    filled = open_volume(f"{tmp_path}/a.tif?missing=fill").store.read().result()
    assert not filled[1, :16, :16].any() and (filled[2] == voxels[2]).all()
