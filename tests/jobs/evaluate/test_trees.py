"""Tracings against true trees, by the command."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from ..running import read_refusal, run_command
from .material import CONFIG


def _line(y: float, x: float) -> str:
    return f"1 1 0 {y} 2 1 -1\n2 3 {x} {y} 2 1 1\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "found.swc").write_text(_line(3, 40))
    (tmp_path / "true.swc").write_text(_line(0, 40))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros((5, 10, 50), np.uint8)
    return tmp_path


def _fields(folder, **more):
    fields = {"kind": "trees", "segmentation": "{f}/found.swc", "labels": "{f}/true.swc"}
    fields |= {"skeleton_unit": "voxel"} | more
    return {k: str(v).replace("{f}", str(folder)) for k, v in fields.items()}


def test_one_tree_in_voxels(files, tmp_path, capfd):
    fields = _fields(files, image="{f}/a.h5:raw")
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (found["esa"], found["dsa"], found["pds"]) == (3, 3, 1)
    assert found["tree_f1"] == found["length_recall"] == found["length_ratio"] == 1
    assert (tmp_path / "run" / "plots" / "trees.png").exists()
    assert "esa 3.0000" in capfd.readouterr().out
    # The same again does not depend on the unit; voxels that are 3 times as high are counted in their shortest side.
    known = _fields(files, image="{f}/a.h5:raw?voxel_nm=200,300,100", tree_different="9.5")
    assert run_command(CONFIG, tmp_path / "known", known) == 0
    found = json.loads((tmp_path / "known" / "results.json").read_text())
    assert (found["esa"], found["pds"], found["tree_f1"]) == (9, 0, 0)


def test_folders_are_paired_by_name(files, tmp_path):
    for folder, names in (("a", "xyz"), ("b", "xy")):
        (files / folder).mkdir()
        for i, name in enumerate(names):
            text = _line(i if folder == "a" else 0, 40)
            (files / folder / f"{name}.swc").write_text(text)
    fields = _fields(files, segmentation="{f}/a", labels="{f}/b")
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["trees"] == 2 and found["esa"] == 0.5
    rows = (tmp_path / "run" / "trees.csv").read_text().splitlines()
    assert rows[0].startswith("tree,esa,") and [row[:3] for row in rows[1:]] == ["x,0", "y,1"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"labels": ""}, "labels is empty"),
        ({"labels": "{f}/none.swc"}, "labels={f}/none.swc: no file"),
        ({"skeleton_unit": "um", "image": "{f}/a.h5:raw"}, "is in um, and no voxel size is known"),
        ({"segmentation": "{f}/away.swc", "image": "{f}/a.h5:raw"}, "lies outside of the image"),
        ({"mask": "{f}/a.h5:raw"}, "means nothing between trees"),
        ({"box": "0:1"}, "box, block_size and cluster mean nothing between trees"),
        ({"tree_step": 0.0}, "tree_step=0 must be above 0"),
        ({"kind": "instances", "tree_step": 2.0}, "means something with kind=trees alone"),
    ],
)
def test_what_cannot_be_scored_is_one_line(files, tmp_path, capfd, more, words):
    (files / "away.swc").write_text(_line(3000, 40))
    refusal = read_refusal(capfd, CONFIG, tmp_path / "run", _fields(files, **more))
    assert words.replace("{f}", str(files)) in refusal
