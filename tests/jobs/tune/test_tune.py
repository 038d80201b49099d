"""Settings are chosen on what prediction and labels share."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from emjax.command_line import load_config
from emjax.errors import InputError
from emjax.jobs import tune
from emjax.volumes.create import create_volume

SHAPE = (4, 24, 32)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Labels of a whole, and a flawless prediction of a part that says where it lies."""
    _, y, x = np.indices(SHAPE)
    labels = np.where((y % 8 == 0) | (x % 8 == 0), 0, 1 + (y // 8) * 4 + x // 8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["labels"], file["none"] = labels.astype(np.uint64), np.zeros(SHAPE, np.uint8)
    known = {"targets": ["foreground"], "offsets": [None], "scale": 1 / 255}
    part = labels[:, 8:, 8:]
    create_volume(
        tmp_path / "p.zarr", (1, *part.shape), np.uint8, (40.0, 4.0, 4.0), known, origin=(0, 8, 8)
    )
    zarr.open_group(tmp_path / "p.zarr")["0"][...] = np.where(part > 0, 255, 0)[None]
    return tmp_path


def _run(folder: Path, **fields: str) -> dict[str, float]:
    config = load_config("configs/tune.py")
    config.update({"input": f"{folder}/p.zarr", "labels": f"{folder}/a.h5:labels"} | fields)
    config.method, config.grid = "components", "threshold=0.5"
    assert tune.run(config, folder / "run") == 0
    return json.loads((folder / "run" / "results.json").read_text())


def test_a_part_is_scored_where_it_lies(folder):
    scores = _run(folder, metric="cremi_score", cremi_border_nm=4.0)
    assert (scores["voi"], scores["cremi_score"], scores["ap_75"]) == (0, 0, 1)
    assert scores["voxels"] == 4 * 16 * 24


def test_settings_that_part_nothing_are_said(folder, caplog):
    _run(folder)
    assert "merged" not in caplog.text
    zarr.open_group(folder / "p.zarr")["0"][...] = 255
    config = {"input": f"{folder}/p.zarr", "labels": f"{folder}/a.h5:labels", "overwrite": True}
    # Six objects of equally many voxels: log2(6) bits.
    scores = _run(folder, **config)
    assert scores["segments"] == 1 and scores["voi_merge"] == pytest.approx(
        np.log2(scores["labels"])
    )
    assert "most objects merged: voi_merge is 2.58 bits, of 2.58" in caplog.text


def test_a_box_is_of_the_prediction(folder, monkeypatch):
    seen, decode = [], tune.decode
    monkeypatch.setattr(tune, "decode", lambda p, *a: seen.append(p.start) or decode(p, *a))
    assert _run(folder, box=":,0:8,8:16")["labels"] == 1
    # Where the part begins is known, as `segment` knows it.
    assert set(seen) == {(0, 0, 8)}


def test_a_box_without_labels_is_refused(folder):
    with pytest.raises(InputError, match="^box=2:4,:,:: .*has labels in .* of the prediction"):
        _run(folder, labels=f"{folder}/a.h5:labels[0:2]", box="2:4,:,:")


def test_labels_without_objects_are_refused(folder):
    with pytest.raises(InputError, match="none.* have no object in the box"):
        _run(folder, labels=f"{folder}/a.h5:none")
    with pytest.raises(InputError, match="metric=cremi_score needs the size of voxels"):
        _run(folder, input=f"{folder}/a.h5:none", channels="foreground", metric="cremi_score")


def test_a_stopped_run_keeps_its_trials(folder, monkeypatch):
    tried, real = [], tune.decode

    def decode(prediction, method, values, memo):
        if len(tried) == 2:
            raise KeyboardInterrupt
        tried.append(values["threshold"])
        return real(prediction, method, values, memo)

    monkeypatch.setattr(tune, "decode", decode)
    config = load_config("configs/tune.py")
    config.update({"input": f"{folder}/p.zarr", "labels": f"{folder}/a.h5:labels"})
    config.method, config.grid = "components", "threshold=0.2,0.5,0.8"
    with pytest.raises(KeyboardInterrupt):
        tune.run(config, folder / "run")
    # A line of which a killed process wrote a part.
    with (folder / "run" / "trials.jsonl").open("a") as file:
        file.write('{"settings": {"thre')
    monkeypatch.setattr(
        tune, "decode", lambda p, m, v, memo: tried.append(v) or real(p, m, v, memo)
    )
    assert tune.run(config, folder / "run") == 0
    # The last trial, and the best one once more for its picture.
    assert [*tried[:2], *(v["threshold"] for v in tried[2:])] == ["0.2", "0.5", "0.8", "0.2"]
    trials = json.loads((folder / "run" / "trials.json").read_text())
    assert len(trials) == 3 and not (folder / "run" / "trials.jsonl").exists()
    assert (folder / "run" / "plots" / "best.png").exists()


def test_labels_of_other_voxels_are_brought_to_the_prediction(folder):
    """Of half as long voxels, each four the same: the same objects at the prediction's voxels."""
    with h5py.File(folder / "a.h5", "a") as file:
        fine = np.repeat(np.repeat(file["labels"][:], 2, axis=1), 2, axis=2)
        file["fine"] = fine
        file["fine"].attrs["resolution"] = (40.0, 2.0, 2.0)
    scores = _run(folder, labels=f"{folder}/a.h5:fine")
    assert scores["voi"] == 0 and scores["voxels"] == 4 * 16 * 24


def test_classes_are_tuned_by_their_own_scores(folder):
    config = {"method": "classes", "grid": "threshold=0,0.9", "metric": "class_mean_iou"}
    chosen = load_config("configs/tune.py")
    chosen.update({"input": f"{folder}/p.zarr", "labels": f"{folder}/a.h5:masks"} | config)
    with h5py.File(folder / "a.h5", "a") as file:
        file["masks"] = (file["labels"][:] > 0).astype(np.uint64)
    assert tune.run(chosen, folder / "classes") == 0
    results = json.loads((folder / "classes" / "results.json").read_text())
    assert results["class_mean_iou"] == 1 and "voi" not in results
    assert json.loads((folder / "classes" / "decoding.json").read_text())["method"] == "classes"
    chosen.metric = "voi"
    with pytest.raises(InputError, match="makes classes; give --config.metric=foreground_iou"):
        tune.run(chosen, folder / "no")
