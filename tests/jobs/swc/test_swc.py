"""The job that checks, mends and converts SWC files."""

from __future__ import annotations

import json

import pytest

from emjax.skeletons.swc import read_swc

from ..running import read_refusal, run_command

CONFIG = "configs/swc.py"
LINE = "1 1 0 0 0 1 -1\n2 3 {x} 0 0 1 1\n"


def test_a_file_is_measured_mended_and_converted(tmp_path, capfd):
    source = tmp_path / "a.swc"
    source.write_text("2 3 10 0 0 0 1\n1 1 0 0 0 2 -1\n")
    fields = {"input": source, "output": tmp_path / "b.swc", "repair": True, "to_unit": "um"}
    fields |= {"voxel_nm": "2000,500,400", "resample": 3}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    said = capfd.readouterr()
    assert "2 lines" not in said.err and "a, line 1: radius 0 is not above 0: radius 2" in said.err
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["length_nm"] == pytest.approx(4000) and found["problems"] == 2
    made = read_swc(tmp_path / "b.swc")
    assert len(made) == 5 and made.positions[0].tolist() == [1, 0.25, 0.2]
    assert made.length == pytest.approx(4) and made.radii.tolist() == [0.8] * 5


def test_a_folder_is_written_to_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name, x in (("a", 3), ("b", 4)):
        (tmp_path / "in" / f"{name}.swc").write_text(LINE.format(x=x))
    fields = {"input": tmp_path / "in", "output": tmp_path / "out"}
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["length_voxels"] == 7 and found["files"] == found["trees"] == 2
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": ""}, "input is empty"),
        ({"input": "{t}/none.swc"}, "no file"),
        ({"to_unit": "um", "output": "{t}/b.swc"}, "the size of voxels is needed"),
        ({"prune": 3.0}, "prune=3.0 changes what is written"),
        ({"smooth": 2, "output": "{t}/b.swc"}, "smooth=2 must be an odd number"),
        ({"output": "{t}/a.swc"}, "is the input"),
        ({"output": "{t}/b.txt"}, "must end in .swc"),
        ({"output": "{t}/ring.swc"}, "ring.swc exists; give --config.overwrite=true"),
        ({"input": "{t}/ring.swc"}, "line 1: point 1 is its own parent"),
    ],
)
def test_what_cannot_work_is_one_line(tmp_path, capfd, fields, words):
    (tmp_path / "a.swc").write_text(LINE.format(x=3))
    (tmp_path / "ring.swc").write_text("1 1 0 0 0 1 1\n")
    given = {"input": "{t}/a.swc"} | fields
    given = {k: str(v).replace("{t}", str(tmp_path)) for k, v in given.items()}
    assert words in read_refusal(capfd, CONFIG, tmp_path / "run", given)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.json"))
