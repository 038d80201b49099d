"""The job on files: blocks make no difference, and its answer to everything that a user can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from .running import read_refusal, run_command

CONFIG = "configs/evaluate.py"
SHAPE = (6, 40, 48)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Labels, a segmentation that merges two and cuts one of them, and what is neither."""
    path = tmp_path_factory.mktemp("volumes") / "a.h5"
    z, y, x = np.indices(SHAPE)
    labels = ((y // 10) * 10 + x // 12 + 1).astype(np.uint64) << np.uint64(40)
    labels[:, 0] = 0
    segments = labels.copy()
    segments[labels == labels[0, 5, 0]] = labels[0, 5, 15]
    segments[:3][labels[:3] == labels[0, 35, 40]] += np.uint64(1)
    with h5py.File(path, "w") as file:
        file["labels"], file["segments"] = labels, segments
        file["raw"] = (128 + 60 * np.sin(y + x) + 20 * np.cos(z)).astype(np.uint8)
        file["floats"] = labels.astype(np.float32)
        file["mask"] = (x < 24).astype(np.uint8)
    return path


def _fields(path: Path, **overrides: object) -> dict[str, object]:
    fields = {"segmentation": f"{path}:segments", "labels": f"{path}:labels"}
    return fields | {"image": f"{path}:raw"} | overrides


def _results(path: Path, workdir: Path, **overrides: object) -> dict[str, float]:
    assert run_command(CONFIG, workdir, _fields(path, **overrides)) == 0
    return json.loads((workdir / "results.json").read_text())


def test_scores_and_pictures(volumes, tmp_path, capfd):
    found = _results(volumes, tmp_path / "run")
    promised = {"voi_split", "voi_merge", "voi", "arand", "arand_precision", "arand_recall"}
    promised |= {"ap_50", "ap_75", "foreground_iou", "mean_iou", "dice"}
    assert set(found) >= promised
    assert (found["labels"], found["segments"], found["voxels"]) == (16, 16, np.prod(SHAPE))
    # Two objects of 9 and 9 rows of 12 in 39 rows of 48 are one: 18 / 156 of the voxels lose one bit each.
    assert found["voi_merge"] == pytest.approx(18 * 12 / (39 * 48))
    assert found["voi_split"] == pytest.approx(10 * 12 / (39 * 48))
    # 13 objects are right; the halves of one, and the one that swallowed its neighbour, are at exactly 0.5.
    assert found["ap_75"] == pytest.approx(13 / (13 + 3 + 3))
    assert imread(tmp_path / "run" / "plots" / "sections.png").std() > 0.05
    assert "background 0 (not scored by VOI and Rand)" in capfd.readouterr().out


def test_blocks_make_no_difference(volumes, tmp_path):
    whole = _results(volumes, tmp_path / "whole")
    for number, size in enumerate(("1,40,48", "4,7,13", "6,40,48")):
        assert _results(volumes, tmp_path / f"{number}", block_size=size) == whole


def test_box_mask_and_ignored_ids(volumes, tmp_path):
    boxed = _results(volumes, tmp_path / "box", box=":,:,0:24")
    masked = _results(volumes, tmp_path / "mask", mask=f"{volumes}:mask")
    assert boxed == masked and boxed["labels"] == 8
    first = 1 << 40
    ignored = _results(volumes, tmp_path / "ignore", ignore_ids=f"{first},{2 * first}")
    assert ignored["labels"] == 14 and ignored["voi_merge"] == 0
    scored = _results(volumes, tmp_path / "background", score_background="true")
    assert scored["voi"] != _results(volumes, tmp_path / "without")["voi"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"labels": ""}, ["labels is empty", "--config.labels=ADDRESS"]),
        ({"segmentation": "{a}:segments[0:3]"}, ["(3, 40, 48) voxels", "(6, 40, 48)"]),
        ({"labels": "{a}:floats"}, ["float32", "ids are integers"]),
        ({"segmentation": "{a}:segment"}, ["segment", "segments"]),
        ({"mask": "{a}:mask[:,:,1:]"}, ["mask", "must be equal"]),
        ({"box": "0:9"}, ["0:9", "6"]),
        ({"block_size": "0,1,1"}, ["block_size=(0, 1, 1)"]),
    ],
)
def test_what_cannot_be_scored_is_one_line(volumes, tmp_path, capfd, overrides, words):
    fields = {k: str(v).replace("{a}", str(volumes)) for k, v in overrides.items()}
    message = read_refusal(capfd, CONFIG, tmp_path / "run", _fields(volumes, **fields))
    assert all(word in message for word in words), message
    assert not (tmp_path / "run" / "results.json").exists()


def test_nothing_left_to_score(volumes, tmp_path, capfd):
    fields = _fields(volumes, labels=f"{volumes}:mask", ignore_ids="0,1")
    assert "can be scored" in read_refusal(capfd, CONFIG, tmp_path / "run", fields)
