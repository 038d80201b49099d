"""The whole job: values of all levels, killed and continued, and its answer to everything a user can get wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from ome_zarr_models.v05 import Image

from emjax.blocks.done import DoneBlocks
from emjax.geometry.box import Box
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import read_refusal, run_command
from .windows import mean_windows, mode_windows

CONFIG = "configs/convert.py"
SHAPE = (11, 50, 61)
SMALL = {"chunk": "4,8,8", "shard": "8,16,16"}
PROMISED = {"voxels", "voxels_per_s", "peak_rss_bytes", "blocks", "blocks_resumed", "levels"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A file with an image, labels, and what is neither."""
    folder = tmp_path_factory.mktemp("convert")
    rng = np.random.default_rng(0)
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw"] = rng.integers(0, 256, SHAPE).astype(np.uint8)
        file["deep"] = rng.integers(0, 60000, SHAPE).astype(np.uint16)
        labels = np.repeat(np.repeat(rng.integers(0, 4, (11, 10, 13)), 5, 1), 5, 2)[:, :, :61]
        file["labels"] = labels.astype(np.uint64) + np.uint64(2**60)
        file["signed"] = labels - 2
        file["float"] = rng.normal(size=(2, *SHAPE)).astype(np.float32)
        file["complex"] = np.zeros(SHAPE, np.complex64)
        for data in file.values():
            data.attrs["resolution"] = (40.0, 4.0, 4.0)
    return folder


def _fields(folder: Path, dataset: str, output: Path | str, **fields: object) -> dict[str, object]:
    return {"input": f"{folder}/a.h5:{dataset}", "output": output, **SMALL} | fields


def _read(folder: Path, dataset: str) -> np.ndarray:
    with h5py.File(folder / "a.h5") as file:
        return file[dataset][:]


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_pyramid_of_means_is_valid_and_exact(folder, tmp_path, capfd) -> None:
    output = tmp_path / "out.zarr"
    assert run_command(CONFIG, tmp_path / "run", _fields(folder, "raw", output, levels=4)) == 0
    said = capfd.readouterr()
    assert "levels       11x50x61, 11x25x31, 11x13x16, 11x7x8 (mean)" in said.out
    group = zarr.open_group(output, mode="r")
    assert len(Image.from_zarr(group).ome_attributes.multiscales[0].datasets) == 4
    level = _read(folder, "raw")
    for number in range(4):
        np.testing.assert_array_equal(group[str(number)][:], level)
        assert open_volume(f"{output}?level={number}").voxel_nm == (
            40,
            4 * 2**number,
            4 * 2**number,
        )
        level = mean_windows(level, (1, 2, 2))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results) == PROMISED
    assert results["voxels"] == np.prod(SHAPE) and results["levels"] == 4
    assert (results["blocks"], results["blocks_resumed"]) == (32 + 8 + 2 + 2, 0)


def test_labels_of_a_box_by_several_workers_to_precomputed(folder, tmp_path) -> None:
    output = tmp_path / "out.precomputed"
    fields = _fields(folder, "labels", output, levels=3, box="2:10,8:,4:", num_workers=3)
    fields |= {"shard": "16,32,32", "chunk": "8,16,16"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    level = _read(folder, "labels")[2:10, 8:, 4:]
    for number in range(3):
        volume = open_volume(f"{output}?level={number}")
        assert volume.dtype == np.uint64
        np.testing.assert_array_equal(volume.read(Box((0, 0, 0), volume.size)), level)
        level = mode_windows(level, (1, 2, 2))
    info = json.loads((output / "info").read_text())
    assert [scale["voxel_offset"] for scale in info["scales"]] == [[4, 8, 2], [2, 4, 2], [1, 2, 2]]


def test_small_labels_stay_labels_in_copies_of_copies(tmp_path) -> None:
    ids = np.repeat(np.arange(1, 5, dtype=np.uint8) * 50, 4 * 16 * 16 // 4).reshape(4, 16, 16)
    with h5py.File(tmp_path / "ids.h5", "w") as file:
        file["main"] = ids
    first, second, image = (tmp_path / name for name in ("a.zarr", "b.precomputed", "c.zarr"))
    fields = {"input": f"{tmp_path}/ids.h5?voxel_nm=8,8,8", "output": first, "kind": "labels"}
    fields["levels"] = 2
    assert run_command(CONFIG, tmp_path / "run_a", fields) == 0
    assert read_attributes(str(first))["kind"] == "labels"
    # Nothing says what they are but the first copy.
    fields = {"input": first, "output": second, "levels": 2}
    assert run_command(CONFIG, tmp_path / "run_b", fields) == 0
    coarse = open_volume(f"{second}?level=1")
    np.testing.assert_array_equal(
        coarse.read(Box((0, 0, 0), coarse.size)), mode_windows(ids, (2, 2, 2)).astype(np.uint32)
    )
    fields = {"input": first, "output": image, "levels": 1, "kind": "image"}
    assert run_command(CONFIG, tmp_path / "run_c", fields) == 0
    assert "kind" not in read_attributes(str(image))


def test_channels_to_hdf5(folder, tmp_path) -> None:
    fields = _fields(folder, "float", f"{tmp_path}/out.h5:volumes/raw", num_workers=2)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["volumes/raw"][:], _read(folder, "float"))
        assert tuple(file["volumes/raw"].attrs["resolution"]) == (40, 4, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5", "run"]


def test_a_stretched_tiff_of_unknown_voxel_size(folder, tmp_path, caplog) -> None:
    voxels = _read(folder, "deep")
    tifffile.imwrite(tmp_path / "a.tif", voxels)
    fields = {"output": tmp_path / "a.zarr", "value_range": "1000,52000", "levels": 1} | SMALL
    # Sections are read whole, once for each block: blocks are as wide as sections.
    fields["input"] = f"{tmp_path}/a.tif"
    del fields["shard"]
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert "the voxel size of" in caplog.text
    volume = open_volume(f"{tmp_path}/a.zarr")
    assert volume.voxel_nm is None
    stretched = np.clip(np.rint((voxels.astype(float) - 1000) / 200), 0, 255)
    np.testing.assert_array_equal(volume.read(Box((0, 0, 0), volume.size)), stretched)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["blocks"] == 3
    assert read_attributes(f"{tmp_path}/a.zarr")["value_range"] == [1000, 52000]


def test_percentiles_are_those_that_networks_see(folder, tmp_path) -> None:
    output = tmp_path / "a.zarr"
    fields = _fields(folder, "deep", output, value_range="percentiles", levels=1)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    low, high = read_attributes(str(output))["value_range"]
    assert 0 < low < 2000 and 58000 < high < 60000
    assert open_volume(str(output)).dtype == np.uint8


def test_a_prediction_stays_one_and_knows_where_it_lies(tmp_path) -> None:
    attributes = {"targets": ["affinity"] * 2, "offsets": [[-1, 0, 0], None], "identity": "old"}
    store = create_volume(tmp_path / "a.zarr", (2, 8, 20, 20), "uint8", (40, 4, 4), attributes)
    store.write(np.random.default_rng(0).integers(0, 9, (2, 8, 20, 20)).astype(np.uint8)).result()
    fields = {"input": f"{tmp_path}/a.zarr[2:,:,:]", "output": tmp_path / "b.zarr", "levels": 2}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    kept = read_attributes(f"{tmp_path}/b.zarr")
    assert kept["targets"] == ["affinity"] * 2 and kept["identity"] != "old"
    image = Image.from_zarr(zarr.open_group(tmp_path / "b.zarr", mode="r"))
    (first, second) = image.ome_attributes.multiscales[0].datasets
    assert first.coordinateTransformations[1].translation == [0, 80, 0, 0]
    assert second.coordinateTransformations[1].translation == [0, 80, 2, 2]


def _start(workdir: Path, fields: dict[str, object]) -> subprocess.Popen:
    arguments = [f"--config.{name}={value}" for name, value in fields.items()]
    command = [sys.executable, "-m", "emjax.main", "--config", CONFIG, f"--workdir={workdir}"]
    return subprocess.Popen(
        [*command, *arguments], stderr=subprocess.PIPE, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )


def _done(workdir: Path, level: int) -> set[int]:
    return DoneBlocks(workdir / "blocks" / str(level), "").indices()


def _kill_in_level(workdir: Path, fields: dict[str, object], level: int) -> None:
    """Starts the job, and kills it once some blocks of a level are done."""
    process = _start(workdir, fields)
    end = time.monotonic() + 60
    while len(_done(workdir, level)) < 3 and time.monotonic() < end:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "levels"), [("out.zarr", (0, 1)), ("out.h5", (0,))])
def test_a_killed_run_goes_on_to_the_same_bytes(folder, tmp_path, name, levels) -> None:
    place, workdir = tmp_path / "place", tmp_path / "run"
    fields = _fields(folder, "labels", place / name, levels=len(levels))
    fields |= {"chunk": "4,4,4", "shard": "4,8,16"}
    for level in levels:
        _kill_in_level(workdir, fields, level)
        marks = len(_done(workdir, level))
        assert not (workdir / "results.json").exists()
    assert run_command(CONFIG, workdir, fields) == 0
    results = json.loads((workdir / "results.json").read_text())
    assert marks <= results["blocks_resumed"] < results["blocks"]
    killed = _bytes(place)
    # The same place: it is part of what is remembered.
    assert run_command(CONFIG, workdir, fields | {"overwrite": True}) == 0
    assert json.loads((workdir / "results.json").read_text())["blocks_resumed"] == 0
    assert _bytes(place) == killed
    np.testing.assert_array_equal(
        open_volume(f"{place}/{name}").store.read().result(), _read(folder, "labels")
    )


def test_a_finished_run_is_left_as_it_is(folder, tmp_path, capfd) -> None:
    fields = _fields(folder, "raw", tmp_path / "out.zarr", levels=2)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    before, results = _bytes(tmp_path / "out.zarr"), (tmp_path / "run/results.json").read_text()
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert _bytes(tmp_path / "out.zarr") == before
    assert (tmp_path / "run/results.json").read_text() == results
    # Something else at the same place is not.
    other = _fields(folder, "deep", tmp_path / "out.zarr", levels=2)
    assert "exists; give another output" in read_refusal(capfd, CONFIG, tmp_path / "other", other)
    assert _bytes(tmp_path / "out.zarr") == before


def _write(path: Path, voxels: np.ndarray) -> None:
    # A new file: readers of this process may still have the old one open.
    path.unlink(missing_ok=True)
    with h5py.File(path, "w") as file:
        file["raw"] = voxels
        file["raw"].attrs["resolution"] = (40.0, 4.0, 4.0)


@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed", "out.h5"])
def test_a_replaced_input_is_no_success(folder, tmp_path, capfd, name) -> None:
    raw = _read(folder, "raw")
    _write(tmp_path / "in.h5", raw)
    fields = {"input": tmp_path / "in.h5", "output": tmp_path / name, "levels": 1}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    _write(tmp_path / "in.h5", raw[::-1])
    refusal = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert "in.h5 was written since" in refusal and "overwrite=true" in refusal
    np.testing.assert_array_equal(open_volume(f"{tmp_path}/{name}").store.read().result(), raw)
    assert run_command(CONFIG, tmp_path / "run", fields | {"overwrite": True}) == 0
    found = open_volume(f"{tmp_path}/{name}").store.read().result()
    np.testing.assert_array_equal(found, raw[::-1])
    assert run_command(CONFIG, tmp_path / "run", fields) == 0


def test_an_input_replaced_in_the_middle(folder, tmp_path, monkeypatch, capfd) -> None:
    """Also where the command that makes it anew is killed: nothing of the old input counts as done."""
    raw = _read(folder, "raw")
    _write(tmp_path / "in.h5", raw)
    fields = {"input": tmp_path / "in.h5", "output": tmp_path / "out.zarr", "levels": 2} | SMALL
    mark = DoneBlocks.mark

    def mark_and_signal(self, *indices: int) -> None:
        mark(self, *indices)
        if 5 in indices:
            os.kill(os.getpid(), signal.SIGTERM)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DoneBlocks, "mark", mark_and_signal)
        assert run_command(CONFIG, tmp_path / "run", fields) == 75
    half = {"input": tmp_path / "out.zarr", "output": tmp_path / "copy.zarr"}
    assert "6 of 40 blocks are done" in read_refusal(capfd, CONFIG, tmp_path / "copy", half)
    _write(tmp_path / "in.h5", raw[::-1])
    assert "written since" in read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    with monkeypatch.context() as patch:
        patch.setattr("emjax.volumes.write.zarr.ZarrOutput.delete", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_command(CONFIG, tmp_path / "run", fields | {"overwrite": True})
    assert run_command(CONFIG, tmp_path / "run", fields | {"overwrite": True}) == 0
    found = open_volume(f"{tmp_path}/out.zarr").store.read().result()
    np.testing.assert_array_equal(found, raw[::-1])


def test_a_copy_of_an_incomplete_volume_is_incomplete(tmp_path, capfd) -> None:
    attributes = {"complete": False, "progress": {f"{tmp_path}/blocks": 8}}
    create_volume(tmp_path / "in.zarr", (8, 8, 8), "uint8", None, attributes).write(1).result()
    fields = {"input": tmp_path / "in.zarr", "output": tmp_path / "out.zarr"}
    assert "0 of 8 blocks" in read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert run_command(CONFIG, tmp_path / "run", fields | {"allow_incomplete": True}) == 0
    fields = {"input": tmp_path / "out.zarr", "output": tmp_path / "more.zarr"}
    assert "made of a volume that is not" in read_refusal(capfd, CONFIG, tmp_path / "2", fields)


def test_coarse_levels_of_an_overwritten_run_do_not_count(folder, tmp_path, monkeypatch) -> None:
    fields = _fields(folder, "raw", tmp_path / "out.zarr", levels=2)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    whole = _bytes(tmp_path / "out.zarr")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    # Killed while the output is made anew.
    with monkeypatch.context() as patch:
        patch.setattr("emjax.volumes.write.zarr.ZarrOutput.create", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_command(CONFIG, tmp_path / "run", fields | {"overwrite": True})
    assert run_command(CONFIG, tmp_path / "run", fields | {"overwrite": True}) == 0
    assert _bytes(tmp_path / "out.zarr") == whole


def test_a_signal_ends_it_and_the_same_command_goes_on(folder, tmp_path, monkeypatch) -> None:
    fields = _fields(folder, "raw", tmp_path / "out.zarr", levels=2)
    mark = DoneBlocks.mark

    def mark_and_signal(self, *indices: int) -> None:
        mark(self, *indices)
        if 5 in indices:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(DoneBlocks, "mark", mark_and_signal)
        assert run_command(CONFIG, tmp_path / "run", fields) == 75
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert json.loads((tmp_path / "run/results.json").read_text())["blocks_resumed"] == 6


@pytest.mark.parametrize(
    ("dataset", "fields", "helps"),
    [
        ("raw", {"output": "out.gif"}, "the name must say the format"),
        ("raw", {"output": ""}, "output is empty"),
        ("nothing", {}, "has no dataset 'nothing'"),
        ("complex", {}, "complex64"),
        ("labels", {"kind": "image"}, "the mean of ids is no id"),
        ("float", {"kind": "labels"}, "labels are whole numbers"),
        ("raw", {"kind": "label"}, "did you mean 'labels'"),
        ("deep", {"dtype": "uint8"}, "cannot hold all values of uint16; give value_range"),
        ("deep", {"dtype": "uint9"}, "dtype='uint9' is unknown"),
        ("deep", {"value_range": "low,high"}, "needs LOW,HIGH"),
        ("signed", {"dtype": "uint8"}, "a label is -2, which uint8 cannot hold"),
        ("raw", {"levels": 30}, "use at most"),
        ("raw", {"levels": -1}, "levels=-1 must be"),
        ("raw", {"chunk": "8,8"}, "chunk=(8, 8): needs three"),
        ("raw", {"shard": "6,16,16"}, "no multiple of chunks"),
        ("raw", {"block_size": "8,16,24"}, "no multiple of the output's shards"),
        ("raw", {"halo": "1,1,1"}, "leave it out"),
        ("raw", {"box": "0:99"}, "leaves the volume"),
        ("raw", {"output": "out.h5", "levels": 2}, "output=out.h5 holds no pyramid"),
        ("raw", {"output": "out.h5", "cluster": "local"}, "written by one process"),
    ],
)
def test_mistakes(folder, tmp_path, monkeypatch, capfd, dataset, fields, helps) -> None:
    monkeypatch.chdir(tmp_path)
    values = _fields(folder, dataset, "out.zarr") | fields
    assert helps in read_refusal(capfd, CONFIG, tmp_path / "run", values)


def test_an_output_in_its_input(folder, tmp_path, capfd) -> None:
    create_volume(tmp_path / "a.zarr", (8, 8, 8), "uint8", None, {}).write(1).result()
    before = _bytes(tmp_path / "a.zarr")
    for output in (tmp_path / "a.zarr", tmp_path / "a.zarr" / "copy.zarr"):
        fields = {"input": tmp_path / "a.zarr", "output": output, "overwrite": True}
        assert "are in one place" in read_refusal(capfd, CONFIG, tmp_path / "run", fields)
    assert _bytes(tmp_path / "a.zarr") == before
    own = _fields(folder, "raw", f"{folder}/a.h5:other", overwrite=True)
    assert "are in one place" in read_refusal(capfd, CONFIG, tmp_path / "run", own)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written(folder, tmp_path, capfd) -> None:
    tmp_path.chmod(0o500)
    fields = _fields(folder, "raw", tmp_path / "out.zarr")
    assert "cannot write" in read_refusal(capfd, CONFIG, folder / "run_denied", fields)


def test_a_parent_that_is_a_file(folder, tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("")
    for name in ("out.zarr", "out.precomputed", "out.h5"):
        fields = _fields(folder, "raw", tmp_path / "file" / name)
        refusal = read_refusal(capfd, CONFIG, tmp_path / "run", fields)
        assert "cannot" in refusal and "file" in refusal
