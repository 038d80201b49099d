"""Tables of objects as others read them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from emjax.geometry.box import Box
from emjax.objects import files as object_files
from emjax.objects.files import Space, write_contacts, write_objects
from emjax.objects.measure import Contacts, ObjectSums, measure_block

SPACE = Space((40.0, 4.0, 5.0), (10, 20, 30), (10.0, 20.5, 30.0), "/data/a.zarr[10:14]")


def _measured(ids: np.ndarray, **how) -> tuple[ObjectSums, Contacts]:
    whole = Box((0, 0, 0), ids.shape)
    return measure_block(ids, whole, whole, whole, **how)


def test_by_hand(tmp_path):
    ids = np.zeros((4, 5, 6), np.uint64)
    ids[1:3, 1, 1:4] = 2**63 + 1
    ids[1, 2, 0:2] = 5
    objects, contacts = _measured(ids, image=np.full(ids.shape, 7, np.uint8))
    write_objects(tmp_path / "o.parquet", objects, contacts, SPACE, intensity=True)
    write_contacts(tmp_path / "c.parquet", contacts, SPACE)
    table = pq.read_table(tmp_path / "o.parquet")
    small, large = table.to_pylist()
    assert (small["id"], large["id"]) == (5, 2**63 + 1)
    assert (small["voxels"], large["voxels"]) == (2, 6)
    assert large["volume_um3"] == pytest.approx(6 * 800 / 1e9)
    assert [large[n] for n in ("z0", "y0", "x0", "z1", "y1", "x1")] == [11, 21, 31, 13, 22, 34]
    centre = [large[f"centroid_{axis}_nm"] for axis in "zyx"]
    assert centre == pytest.approx([(10 + 1.5) * 40, (20.5 + 1) * 4, (30 + 2) * 5])
    # Faces of 4 x 5 nm along z, 40 x 5 along y, 40 x 4 along x.
    assert large["surface_um2"] == pytest.approx((6 * 20 + 12 * 200 + 4 * 160) / 1e6)
    assert small["surface_um2"] == pytest.approx((4 * 20 + 4 * 200 + 1 * 160) / 1e6)
    assert (small["border_um2"], large["border_um2"]) == (pytest.approx(160 / 1e6), 0)
    assert (small["touches_border"], large["touches_border"]) == (True, False)
    assert small["contacts"] == large["contacts"] == 1 and large["mean_intensity"] == 7
    (pair,) = pq.read_table(tmp_path / "c.parquet").to_pylist()
    assert pair == {
        "id_a": 5,
        "id_b": 2**63 + 1,
        "faces": 1,
        "area_um2": pytest.approx(200 / 1e6),
    }
    for name in "oc":
        metadata = pq.read_metadata(tmp_path / f"{name}.parquet").metadata
        assert json.loads(metadata[b"voxel_nm"]) == [40, 4, 5]
        assert metadata[b"address"] == b"/data/a.zarr[10:14]" and b"units" in metadata


def test_no_objects(tmp_path):
    nothing = _measured(np.zeros((2, 3, 4), np.uint8))
    write_objects(tmp_path / "o.parquet", *nothing, SPACE)
    write_contacts(tmp_path / "c.parquet", nothing[1], SPACE)
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.num_rows == 0 and "mean_intensity" not in table.column_names
    assert str(table.schema.field("id").type) == "uint64" and "touches_border" in table.column_names
    assert pq.read_table(tmp_path / "c.parquet").num_rows == 0


def test_groups_of_rows_make_no_difference(tmp_path, monkeypatch):
    ids = np.random.default_rng(0).integers(0, 40, (6, 7, 8))
    objects, contacts = _measured(ids)
    write_objects(tmp_path / "one.parquet", objects, contacts, SPACE)
    write_contacts(tmp_path / "c_one.parquet", contacts, SPACE)
    monkeypatch.setattr(object_files, "_GROUP", 7)
    write_objects(tmp_path / "many.parquet", objects, contacts, SPACE)
    write_contacts(tmp_path / "c_many.parquet", contacts, SPACE)
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups > 3
    for name in ("", "c_"):
        one, many = (pq.read_table(tmp_path / f"{name}{n}.parquet") for n in ("one", "many"))
        assert one.equals(many) and one.num_rows >= 39


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    objects, contacts = _measured(np.ones((2, 2, 2), np.uint8))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(object_files, "_object_rows", fail)
    with pytest.raises(OSError, match="No space left"):
        write_objects(tmp_path / "o.parquet", objects, contacts, SPACE)
    assert list(tmp_path.iterdir()) == []
