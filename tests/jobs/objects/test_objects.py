"""The job objects as a user runs it: its tables, any blocks and workers, and its answers to mistakes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import ndimage

from emjax.objects import passes
from emjax.volumes.create import create_volume

from ..running import read_refusal, run_command

CONFIG = "configs/objects.py"
SHAPE = (12, 30, 36)
BLOCKS = ("12,30,36", "6,15,18", "4,10,12", "5,30,7")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Labels beyond 2^53, an image, and what is neither."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    labels = np.digitize(noise, np.quantile(noise, np.linspace(0.3, 0.95, 9))).astype(np.uint64)
    labels[labels > 0] += np.uint64(2**60)
    store = create_volume(folder / "a.zarr", SHAPE, np.uint64, (40, 4, 5), {}, origin=(2, 0, 10))
    store.write(labels).result()
    with h5py.File(folder / "a.h5", "w") as file:
        file["labels"] = labels
        file["image"] = rng.integers(0, 255, SHAPE).astype(np.uint8)
        file["floats"] = labels.astype(np.float32)
        file["nothing"] = np.zeros(SHAPE, np.uint16)
    return folder


def _fields(volumes: Path, **overrides: object) -> dict[str, object]:
    fields = {"input": "{v}/a.zarr", "image": "{v}/a.h5:image"} | overrides
    return {name: str(value).replace("{v}", str(volumes)) for name, value in fields.items()}


def _tables(workdir: Path, fields: dict[str, object]) -> tuple[bytes, bytes]:
    assert run_command(CONFIG, workdir, fields) == 0
    assert not (workdir / "parts").exists()
    return tuple((workdir / f"{name}.parquet").read_bytes() for name in ("objects", "contacts"))


def test_tables(volumes, tmp_path, capfd):
    _tables(tmp_path / "run", _fields(volumes))
    with h5py.File(volumes / "a.h5") as file:
        labels, image = file["labels"][()], file["image"][()]
    table = pq.read_table(tmp_path / "run" / "objects.parquet")
    known, counts = np.unique(labels[labels > 0], return_counts=True)
    assert table["id"].to_pylist() == known.tolist() and known[0] == 2**60 + 1
    assert table["voxels"].to_pylist() == counts.tolist()
    means = ndimage.mean(image, labels - np.uint64(2**60), np.arange(1, 10))
    assert table["mean_intensity"].to_pylist() == pytest.approx(means.tolist())
    places = np.argwhere(labels == known[3])
    row = table.slice(3, 1).to_pylist()[0]
    assert [row[n] for n in ("z0", "y0", "x0")] == places.min(axis=0).tolist()
    centre = (places.mean(axis=0) + (2, 0, 10)) * (40, 4, 5)
    assert [row[f"centroid_{a}_nm"] for a in "zyx"] == pytest.approx(centre.tolist())
    contacts = pq.read_table(tmp_path / "run" / "contacts.parquet")
    degree = np.unique(
        [contacts["id_a"].to_numpy(), contacts["id_b"].to_numpy()], return_counts=True
    )
    assert table["contacts"].to_pylist() == degree[1].tolist()
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["objects"], results["object_voxels"]) == (9, counts.sum())
    assert results["contacts"] == contacts.num_rows and results["blocks"] == 1
    out = capfd.readouterr().out
    assert "9 objects fill" in out and f"{tmp_path}/run/objects.parquet" in out


def test_blocks_and_workers_make_no_difference(volumes, tmp_path):
    whole = _tables(tmp_path / "whole", _fields(volumes))
    for number, size in enumerate(BLOCKS):
        for workers in (1, 2):
            fields = _fields(volumes, block_size=size, num_workers=workers)
            assert _tables(tmp_path / f"{number}-{workers}", fields) == whole


@pytest.mark.slow
def test_processes_make_no_difference(volumes, tmp_path):
    fields = _fields(volumes, block_size=BLOCKS[1], num_workers=2, cluster="local")
    assert _tables(tmp_path / "cluster", fields) == _tables(tmp_path / "whole", _fields(volumes))


def test_a_part_of_a_volume(volumes, tmp_path):
    named = {"input": "{v}/a.zarr[2:9,5:,:20]", "image": ""}
    boxed = {"image": "", "box": "2:9,5:,:20"}
    tables = []
    for number, how in enumerate((named, boxed, boxed | {"block_size": "3,9,8"})):
        workdir = tmp_path / f"{number}"
        _tables(workdir, _fields(volumes, **how))
        tables.append(pq.read_table(workdir / "objects.parquet"))
    # The same places in the file, however the part is named; the border is that of the part.
    assert tables[1].equals(tables[2])
    for name in tables[0].column_names:
        values = [table[name].to_pylist() for table in tables[:2]]
        # Centres are equal up to rounding.
        assert values[0] == (pytest.approx(values[1]) if name.endswith("_nm") else values[1])
    assert min(tables[0]["z0"].to_pylist()) == 2 and "mean_intensity" not in tables[0].column_names


def test_nothing_and_ignored_ids(volumes, tmp_path, capfd):
    fields = _fields(volumes, input="{v}/a.h5:nothing?voxel_nm=40,4,4", image="")
    _tables(tmp_path / "nothing", fields)
    assert pq.read_table(tmp_path / "nothing" / "objects.parquet").num_rows == 0
    assert "0 objects fill 0.0%" in capfd.readouterr().out
    ignored = _fields(
        volumes,
        ignore_ids=2**60 + 1,
        input=f"{{v}}/a.zarr?ignore={2**60 + 2}&background={2**60 + 3}",
    )
    _tables(tmp_path / "ignored", ignored)
    ids = pq.read_table(tmp_path / "ignored" / "objects.parquet")["id"].to_pylist()
    assert ids == [2**60 + i for i in range(4, 10)]


def test_stopped_between_blocks(volumes, tmp_path, monkeypatch):
    measure, measured = passes.measure_block, []

    def stop(*args, **how):
        measured.append(0)
        if len(measured) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(*args, **how)

    monkeypatch.setattr(passes, "measure_block", stop)
    fields = _fields(volumes, block_size=BLOCKS[1])
    assert run_command(CONFIG, tmp_path / "run", fields) == 75
    assert not (tmp_path / "run" / "objects.parquet").exists()
    again = _tables(tmp_path / "run", fields)
    assert len(measured) == 8
    assert again == _tables(tmp_path / "whole", _fields(volumes))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"input": ""}, ["input is empty", "--config.input=ADDRESS"]),
        ({"input": "{v}/b.zarr"}, ["no such path", "did you mean"]),
        ({"input": "{v}/a.h5:floats?voxel_nm=1,1,1"}, ["float32", "ids are integers"]),
        (
            {"input": "{v}/a.h5:labels"},
            ["size of its voxels", "?voxel_nm=Z,Y,X", "labels?voxel_nm=40,4,4"],
        ),
        ({"image": "{v}/a.h5:image[1:]"}, ["(11, 30, 36) voxels", "give boxes that match"]),
        ({"image": "{v}/a.h5:floats"}, ["float32", "leave image out"]),
        ({"image": "{v}/a.h5:images"}, ["images"]),
        ({"ignore_ids": "a"}, ["ignore_ids=('a',)", "whole numbers"]),
        ({"input": "{v}/a.zarr?ignore=b"}, ["ignore=b"]),
        ({"halo": "1,1,1"}, ["halo=(1, 1, 1)", "leave it out"]),
        ({"block_size": "0,8,8"}, ["block_size=(0, 8, 8)"]),
        ({"box": "0:99"}, ["0:99"]),
        ({"cluster": "somewhere"}, ["cluster='somewhere'"]),
    ],
)
def test_mistakes_are_one_line(volumes, tmp_path, capfd, overrides, words):
    message = read_refusal(capfd, CONFIG, tmp_path / "run", _fields(volumes, **overrides))
    assert all(word in message for word in words), message
    assert not (tmp_path / "run").exists()
