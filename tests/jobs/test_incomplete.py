"""A half-finished volume of emjax is refused by every job that reads volumes, and can be looked at all the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emjax.blocks.done import DoneBlocks
from emjax.data.opening import open_entries
from emjax.errors import InputError
from emjax.volumes.attributes import read_attributes
from emjax.volumes.create import create_volume

from .running import read_refusal, run_command

SHAPE = (4, 24, 24)
OFFSETS = [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A prediction, a segmentation and an image, of which one of two blocks is done; and whole labels."""
    folder = tmp_path_factory.mktemp("incomplete")
    done = DoneBlocks(folder / "run" / "blocks", "a")
    done.begin()
    done.mark(0)
    mark = {"complete": False, "progress": {f"{folder}/run/blocks": 2}}
    nm = (40.0, 8.0, 8.0)
    known = {"targets": ["affinity"] * 3, "offsets": OFFSETS, "scale": 1 / 255, **mark}
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[:, :12] = 230
    create_volume(folder / "p.zarr", (3, *SHAPE), "uint8", nm, known).write(voxels).result()
    create_volume(folder / "image.zarr", SHAPE, "uint8", nm, mark).write(voxels).result()
    for name, attributes in {"s.zarr": mark, "labels.zarr": {}}.items():
        ids = create_volume(folder / name, SHAPE, "uint64", nm, attributes)
        ids.write((voxels // 230).astype(np.uint64)).result()
    return folder


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ("segment", {"input": "p.zarr", "output": "out.zarr"}),
        ("tune", {"input": "p.zarr", "labels": "labels.zarr", "grid": "threshold=0.5"}),
        ("evaluate", {"segmentation": "s.zarr", "labels": "labels.zarr"}),
        ("objects", {"input": "s.zarr"}),
        ("postprocess", {"input": "s.zarr", "output": "out.zarr"}),
        ("convert", {"input": "image.zarr", "output": "out.zarr"}),
        ("view", {"volumes": "image.zarr|s.zarr", "serve": False}),
    ],
)
def test_jobs_refuse_it_unless_told(folder, tmp_path, monkeypatch, capfd, config, fields) -> None:
    monkeypatch.chdir(folder)
    if "output" in fields:
        fields = fields | {"output": tmp_path / fields["output"]}
    file = f"configs/{config}.py"
    refusal = read_refusal(capfd, file, tmp_path / "run", fields)
    assert "is not complete (1 of 2 blocks are done)" in refusal
    assert "allow_incomplete=true" in refusal and not (tmp_path / "run").exists()
    assert run_command(file, tmp_path / "run", fields | {"allow_incomplete": True}) == 0


def test_a_copy_keeps_the_mark_or_is_refused(folder, tmp_path, capfd) -> None:
    fields = {"input": folder / "image.zarr", "allow_incomplete": True}
    file, run = "configs/convert.py", tmp_path / "run"
    refusal = read_refusal(capfd, file, run, fields | {"output": tmp_path / "a.h5"})
    assert "a.h5: this format has no mark" in refusal and "give output=NAME.zarr" in refusal
    assert list(tmp_path.iterdir()) == []
    assert run_command(file, run, fields | {"output": tmp_path / "a.zarr"}) == 0
    assert read_attributes(str(tmp_path / "a.zarr"))["complete"] is False


def test_nobody_trains_on_it(folder) -> None:
    for volumes in ("image.zarr|labels.zarr", "labels.zarr?kind=image|s.zarr"):
        with pytest.raises(InputError, match="1 of 2 blocks are done") as error:
            open_entries("|".join(f"{folder}/{name}" for name in volumes.split("|")))
        assert "allow_incomplete" not in str(error.value)
