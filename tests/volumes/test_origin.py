"""Where volumes lie: the translation of a file and the box of an address, in voxels."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.create import create_volume
from emjax.volumes.origin import origin_voxels
from emjax.volumes.store import open_volume

SHAPE = (4, 6, 8)


def test_ome_zarr(tmp_path):
    create_volume(tmp_path / "a.zarr", SHAPE, np.uint8, (40, 4, 5), {}, origin=(3, 20, 100))
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr")) == (3, 20, 100)
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr[1:3,:,2:]")) == (4, 20, 102)
    # Other voxels than the file says: the place is kept in voxels.
    assert origin_voxels(open_volume(f"{tmp_path}/a.zarr?voxel_nm=1,1,1")) == (3, 20, 100)
    # Without a size of voxels, too.
    create_volume(tmp_path / "b.zarr", SHAPE, np.uint8, None, {}, origin=(3, 20, 100))
    assert origin_voxels(open_volume(f"{tmp_path}/b.zarr")) == (3, 20, 100)


def test_ome_zarr_of_others(tmp_path):
    """Version 0.4, axes x, y, z, and a transformation of all levels after that of each."""
    ts.open(
        {
            "driver": "zarr",
            "kvstore": f"file://{tmp_path}/a.zarr/s1/",
            "metadata": {"shape": [8, 6, 4], "chunks": [8, 6, 4], "dtype": "|u1"},
        },
        create=True,
    ).result()
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "xyz"]
    level = [
        {"type": "scale", "scale": [2, 2, 1]},
        {"type": "translation", "translation": [0.5, 0.5, 0]},
    ]
    image = {
        "axes": axes,
        "datasets": [{"path": "s1", "coordinateTransformations": level}],
        "coordinateTransformations": [
            {"type": "scale", "scale": [0.01, 0.01, 0.04]},
            {"type": "translation", "translation": [1, 0, 0.4]},
        ],
    }
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    volume = open_volume(f"{tmp_path}/a.zarr")
    assert volume.voxel_nm == pytest.approx((40, 20, 20))
    assert origin_voxels(volume) == pytest.approx((10, 0.25, 50.25))
    image["coordinateTransformations"][1]["translation"] = [1]
    (tmp_path / "a.zarr" / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    with pytest.raises(InputError, match="do not say where it lies"):
        origin_voxels(volume)


def test_precomputed(tmp_path):
    ts.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": f"file://{tmp_path}/p/",
            "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
            "scale_metadata": {
                "resolution": [5, 4, 40],
                "size": [8, 6, 4],
                "voxel_offset": [100, 20, 3],
                "chunk_size": [8, 6, 4],
                "encoding": "raw",
            },
        },
        create=True,
    ).result()
    assert origin_voxels(open_volume(f"{tmp_path}/p[1:]")) == (4, 20, 100)


def test_files_that_do_not_say(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(SHAPE, np.uint8)
    assert origin_voxels(open_volume(f"{tmp_path}/a.h5:x[2:3,1:]")) == (2, 1, 0)
    assert origin_voxels(open_volume("synthetic://neurites?shape=8,16,16")) == (0, 0, 0)
