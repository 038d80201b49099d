"""The jobs segment and tune on a small prediction, and their answers to everything that a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.origin import origin_voxels
from emjax.volumes.store import open_volume

from ...extending import write_package
from ..running import read_refusal, run_command

SEGMENT, TUNE = "configs/segment.py", "configs/tune.py"
SHAPE = (6, 48, 48)
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


def _labels() -> np.ndarray:
    """Nine columns, 16 voxels wide."""
    _, y, x = np.indices(SHAPE)
    return ((y // 16) * 3 + x // 16 + 1).astype(np.uint64)


def _affinities(labels: np.ndarray, between: float, within: float = 0.9) -> np.ndarray:
    """Affinities of 0.9 within an object, and of another value between two."""
    channels = np.full((3, *SHAPE), within, np.float32)
    for axis in range(3):
        moved = np.roll(labels, 1, axis)
        channels[axis][labels != moved] = between
    return channels


def _write(path: Path, channels: np.ndarray, attributes: dict) -> Path:
    store = create_volume(path, channels.shape, channels.dtype, (40.0, 8.0, 8.0), attributes)
    store.write(channels).result()
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Predictions and labels, in one folder."""
    folder = tmp_path_factory.mktemp("volumes")
    channels = _affinities(_labels(), between=0.3)
    known = {"targets": ["affinity"] * 3, "offsets": OFFSETS, "scale": 1 / 255}
    _write(folder / "p.zarr", np.round(channels * 255).astype(np.uint8), known)
    _write(folder / "bare.zarr", channels, {})
    single = np.where(_labels() == 5, 0.9, 0.1).astype(np.float32)[None]
    _write(
        folder / "one.zarr", single, {"targets": ["foreground"], "offsets": [None], "scale": 1.0}
    )
    broken = channels.copy()
    broken[1, 2, 3, 4] = np.nan
    _write(folder / "broken.zarr", broken, known | {"scale": 1.0})
    with h5py.File(folder / "a.h5", "w") as file:
        file["labels"] = _labels()
        file["short"] = _labels()[:4]
        file["none"] = np.zeros_like(_labels())
    return folder


def _segment(volumes: Path, workdir: Path, **fields: object) -> tuple[int, Path]:
    output = workdir / "out.zarr"
    values = {"input": volumes / "p.zarr", "output": output} | fields
    return run_command(SEGMENT, workdir / "run", values), output


def _same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one.ravel(), other.ravel()], axis=1), axis=0)
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("method", ["", "agglomerate", "multicut", "affinity_components"])
def test_objects_come_out_as_they_are(volumes, tmp_path, method):
    status, output = _segment(volumes, tmp_path, method=method)
    assert status == 0
    found = open_volume(str(output))
    assert found.dtype == np.uint64 and found.voxel_nm == (40, 8, 8)
    ids = found.store.read().result()
    assert _same_partition(ids, _labels())
    assert np.unique(ids).tolist() == list(range(1, 10))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["objects"] == 9 and results["voxels"] == np.prod(SHAPE)
    assert set(results) >= {"voxels_per_s", "peak_rss_bytes", "blocks_resumed"}
    attributes = read_attributes(str(output))
    assert attributes["method"] == (method or "agglomerate")
    assert imread(tmp_path / "run" / "plots" / "sections.png").std() > 0.05


def test_a_prediction_of_one_channel(volumes, tmp_path):
    fields = {"input": volumes / "one.zarr", "settings": "min_size=0"}
    status, output = _segment(volumes, tmp_path, **fields)
    assert status == 0
    ids = open_volume(str(output)).store.read().result()
    np.testing.assert_array_equal(ids, _labels() == 5)


def test_a_method_of_another_package(volumes, tmp_path, monkeypatch, capfd):
    known = {"targets": ["large_ids"], "offsets": [None], "methods": ["sections"]}
    inside = (_labels() == 5)[None]
    prediction = _write(tmp_path / "p.zarr", np.where(inside, 200, 20).astype(np.uint8), known)
    fields = {"input": prediction, "output": tmp_path / "out.zarr"}
    message = read_refusal(capfd, SEGMENT, tmp_path / "run", fields)
    assert "its targets name method 'sections', which no installed package has" in message
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    # Named; chosen as the only one that suits; and in cells, where its objects are the fragments.
    cases = [{"method": "sections"}, {}, {"fragment_size": "3,48,48", "settings": "above=0.6"}]
    for case in cases:
        assert run_command(SEGMENT, tmp_path / "run", fields | case | {"overwrite": "true"}) == 0
        ids = open_volume(str(tmp_path / "out.zarr")).store.read().result()
        assert np.unique(ids).tolist() == [0, 1, 2, 3, 4, 5, 6]
        assert all(
            _same_partition(section, labels == 5)
            for section, labels in zip(ids, _labels(), strict=True)
        )
    assert read_attributes(str(tmp_path / "out.zarr"))["method"] == "sections"


def test_settings_and_box(volumes, tmp_path):
    status, output = _segment(volumes, tmp_path, settings="threshold=0.1", box="2:6,0:32,:")
    assert status == 0
    ids = open_volume(str(output)).store.read().result()
    assert ids.shape == (4, 32, 48) and np.unique(ids).tolist() == [1]


def test_sections_are_cut_one_by_one_where_they_are_thick(volumes, tmp_path):
    _, output = _segment(volumes, tmp_path)
    assert read_attributes(str(output))["settings"]["plane"] is True


def test_channels_of_another_tool(volumes, tmp_path):
    text = "affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1"
    status, output = _segment(volumes, tmp_path, input=volumes / "bare.zarr", channels=text)
    assert status == 0
    assert _same_partition(open_volume(str(output)).store.read().result(), _labels())


def test_an_output_is_replaced_only_when_told(volumes, tmp_path, capfd):
    assert _segment(volumes, tmp_path)[0] == 0
    fields = {"input": volumes / "p.zarr", "output": tmp_path / "out.zarr"}
    message = read_refusal(capfd, SEGMENT, tmp_path / "other", fields)
    assert "out.zarr" in message and "overwrite=true" in message
    fields |= {"overwrite": "true", "settings": "threshold=0.1"}
    assert run_command(SEGMENT, tmp_path / "other", fields) == 0
    assert open_volume(str(tmp_path / "out.zarr")).store.read().result().max() == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": ""}, ["input is empty"]),
        ({"output": "{v}/p.zarr", "overwrite": "true"}, ["are in one place", "another output"]),
        ({"input": "{v}/q.zarr"}, ["no such path", "p.zarr"]),
        ({"input": "{v}/a.h5:labels"}, ["what its one channel is", "configs/predict.py"]),
        ({"input": "{v}/a.h5:labels", "channels": "foreground"}, ["uint64", "uint8"]),
        ({"input": "{v}/bare.zarr"}, ["does not say what its 3 channels are", "--config.channels"]),
        ({"input": "{v}/broken.zarr"}, ["nan", "affinity[0,-1,0]"]),
        ({"method": "aglomerate"}, ["aglomerate", "did you mean 'agglomerate'?"]),
        ({"method": "contour"}, ["needs 'foreground' and 'contour'", "agglomerate"]),
        ({"method": "mutex"}, ["long-range"]),
        ({"settings": "treshold=0.3"}, ["treshold", "did you mean 'threshold'?"]),
        ({"settings": "threshold=3"}, ["threshold=3", "between 0 and 1"]),
        ({"settings": "threshold"}, ["decoding.json", "NAME=VALUE"]),
        ({"box": "0:99"}, ["0:99"]),
        ({"block_size": "2,16,16"}, ["block_size=(2, 16, 16)", "6,48,48", "fragment_size"]),
        ({"fragment_size": "2,16"}, ["fragment_size=(2, 16)", "three whole numbers"]),
        ({"method": "affinity_components", "halo": "1,1,1"}, ["halo=(1, 1, 1)", "leave it out"]),
        ({"cluster": "slurm"}, ["cluster='slurm'", "local"]),
        ({"channels": "affinity:1"}, ["affinity:1", "affinity:-1/0/0"]),
    ],
)
def test_what_cannot_be_segmented_is_one_line(volumes, tmp_path, capfd, fields, words):
    given = {name: str(value).replace("{v}", str(volumes)) for name, value in fields.items()}
    values = {"input": volumes / "p.zarr", "output": tmp_path / "out.zarr"} | given
    message = read_refusal(capfd, SEGMENT, tmp_path / "run", values)
    assert all(word in message for word in words), message
    assert not (tmp_path / "out.zarr").exists()


def _tune(volumes: Path, workdir: Path, **fields: object) -> dict[str, object]:
    given = {"input": volumes / "p.zarr", "labels": f"{volumes}/a.h5:labels"}
    return given | {"grid": "sigma_seeds=0,1&threshold=0.1,0.6,0.95"} | fields


def test_the_best_of_a_grid_is_what_segment_takes(volumes, tmp_path, capfd):
    assert run_command(TUNE, tmp_path / "tune", _tune(volumes, tmp_path)) == 0
    chosen = json.loads((tmp_path / "tune" / "decoding.json").read_text())
    assert chosen["method"] == "agglomerate" and chosen["metric"] == "voi"
    assert float(chosen["settings"]["threshold"]) == 0.6 and chosen["value"] == 0
    assert json.loads((tmp_path / "tune" / "results.json").read_text())["trials"] == 6
    assert "threshold=0.6" in capfd.readouterr().out.splitlines()[1]
    status, output = _segment(volumes, tmp_path, settings=tmp_path / "tune")
    assert status == 0
    assert _same_partition(open_volume(str(output)).store.read().result(), _labels())
    fields = {"input": volumes / "p.zarr", "output": tmp_path / "b.zarr", "method": "multicut"}
    fields["settings"] = tmp_path / "tune"
    message = read_refusal(capfd, SEGMENT, tmp_path / "b", fields)
    assert "tuned for 'agglomerate'" in message


def test_more_is_better_of_a_precision(volumes, tmp_path):
    assert run_command(TUNE, tmp_path / "run", _tune(volumes, tmp_path, metric="ap_50")) == 0
    chosen = json.loads((tmp_path / "run" / "decoding.json").read_text())
    assert float(chosen["settings"]["threshold"]) == 0.6 and chosen["value"] == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cluster": "local"}, ["cluster=local", "leave it out"]),
        ({"metric": "vio"}, ["vio", "did you mean 'voi'?"]),
        ({"labels": "{v}/a.h5:short"}, ["(4, 48, 48)", "(6, 48, 48)"]),
        ({"labels": "{v}/p.zarr"}, ["ids are integers"]),
        ({"grid": "threshold"}, ["'threshold' is not NAME=VALUE"]),
        ({"grid": "treshold=1"}, ["treshold", "did you mean 'threshold'?"]),
        ({"grid": "threshold=2"}, ["threshold=2"]),
        ({"labels": "{v}/a.h5:none"}, ["none"]),
    ],
)
def test_what_cannot_be_tuned_is_one_line(volumes, tmp_path, capfd, fields, words):
    given = {name: str(value).replace("{v}", str(volumes)) for name, value in fields.items()}
    message = read_refusal(capfd, TUNE, tmp_path / "run", _tune(volumes, tmp_path, **given))
    assert all(word in message for word in words), message
    assert not (tmp_path / "run" / "decoding.json").exists()


def test_a_segmentation_lies_where_its_prediction_lies(volumes, tmp_path):
    stored = np.zeros((1, *SHAPE), np.float32)
    known = {"targets": ["foreground"], "offsets": [None], "scale": 1.0}
    path = tmp_path / "moved.zarr"
    create_volume(path, stored.shape, np.float32, (40.0, 8.0, 8.0), known, origin=(200, 7, 0))
    status, output = _segment(volumes, tmp_path, input=path, box="2:6,:,:")
    assert status == 0
    assert origin_voxels(open_volume(str(output))) == (202, 7, 0)


def test_a_replaced_prediction_is_no_success(tmp_path, capfd):
    channels = "affinity:-1/0/0,affinity:0/-1/0,affinity:0/0/-1"
    fields = {"input": tmp_path / "p.zarr", "output": tmp_path / "out.zarr", "channels": channels}
    store = create_volume(fields["input"], (3, *SHAPE), np.float32, (40.0, 8.0, 8.0), {})
    store.write(_affinities(_labels(), between=0.3)).result()
    assert run_command(SEGMENT, tmp_path / "run", fields) == 0
    assert run_command(SEGMENT, tmp_path / "run", fields) == 0
    # By another program, which writes new chunks and leaves the metadata as they are.
    store.write(_affinities(_labels(), between=0.9)).result()
    refusal = read_refusal(capfd, SEGMENT, tmp_path / "run", fields)
    assert "p.zarr was written since" in refusal and "overwrite=true" in refusal
    shared = fields | {"graph": tmp_path / "run" / "graph", "output": tmp_path / "other.zarr"}
    assert "graph=" in read_refusal(capfd, SEGMENT, tmp_path / "other", shared)
    assert run_command(SEGMENT, tmp_path / "run", fields | {"overwrite": True}) == 0
    assert np.unique(open_volume(str(fields["output"])).store.read().result()).tolist() == [1]


def test_a_segmentation_says_whether_it_is_complete(volumes, tmp_path):
    assert _segment(volumes, tmp_path)[0] == 0
    attributes = read_attributes(f"{tmp_path}/out.zarr")
    assert attributes["complete"] is True and "progress" not in attributes
