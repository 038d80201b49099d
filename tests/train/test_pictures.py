"""Courses of a run, and pictures in its folder."""

from __future__ import annotations

import json

import numpy as np
from etils import epath
from matplotlib.image import imread

from emjax.train.pictures import read_courses, write_pictures


def test_courses_are_those_of_the_record(tmp_path):
    lines = [
        {"step": 2, "train": {"loss": 3.0}, "losses": [3.5, 2.5]},
        {"step": 4, "train": {"loss": 2.0, "loss/cross": 0.5}},
        {"step": 4, "eval": {"score": 0.1}},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    folder = epath.Path(tmp_path)
    assert read_courses(folder, "train") == {
        "loss": ([2, 4], [3.0, 2.0]),
        "loss/cross": ([4], [0.5]),
    }
    assert read_courses(folder, "eval") == {"score": ([4], [0.1])}


def test_pictures_lie_in_plots(tmp_path):
    picture = np.zeros((4, 5, 3), np.uint8)
    paths = write_pictures(epath.Path(tmp_path), {"a.png": picture, "b.png": picture + 255})
    assert [path.name for path in paths] == ["a.png", "b.png"]
    assert [imread(path)[..., :3].mean() for path in paths] == [0, 1]
    assert paths[0].parent == tmp_path / "plots"
