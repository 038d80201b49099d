"""The job view: a page that ends when told to, pictures, and its answers to what a user can get wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.image import imread

from emjax.volumes.create import create_volume

from ...viewing.pages import fetch, fetch_chunk, fetch_info, read_state, sources
from ..running import read_refusal, run_command

CONFIG = "configs/view.py"
SHAPE = (6, 40, 48)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """An image, its labels and a part of them."""
    path = tmp_path_factory.mktemp("volumes")
    z, y, x = np.indices(SHAPE)
    with h5py.File(path / "a.h5", "w") as file:
        file["raw"] = (z * 40 + y % 8 * 4 + x % 4).astype(np.uint8)
        file["labels"] = ((y // 20) * 2 + x // 24 + 1).astype(np.uint32)
        for item in file.values():
            item.attrs["resolution"] = (40.0, 8.0, 8.0)
    ids = ((y // 20) * 2 + x // 24 + 1).astype(np.uint64)[2:5, 8:, 4:]
    store = create_volume(
        path / "s.zarr", ids.shape, np.uint64, (40.0, 8.0, 8.0), {}, origin=(2, 8, 4)
    )
    store.write(ids).result()
    (path / "n.swc").write_text("1 0 80 80 40 0 -1\n2 0 160 160 40 0 1\n")
    (path / "broken.h5").write_bytes(b"no HDF5")
    (path / "folder.png").mkdir()
    return path


def _fields(path: Path, **overrides: object) -> dict[str, object]:
    fields = {"volumes": "{v}/a.h5:raw|{v}/a.h5:labels"} | overrides
    return {k: v.format(v=path) if isinstance(v, str) else v for k, v in fields.items()}


def _draw(path: Path, tmp_path: Path, **overrides: object) -> tuple[np.ndarray, dict]:
    fields = _fields(path, png=tmp_path / "o.png", **overrides)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    return imread(tmp_path / "o.png")[..., :3], results


def test_picture_of_a_box_and_sections(volumes, tmp_path, capfd):
    whole, results = _draw(volumes, tmp_path)
    assert results == {"layers": 2, "voxels": 2 * np.prod(SHAPE), "skeletons": 0, "sections": 3}
    # 40 x 48 voxels, six times as large: three rows, two columns.
    assert whole.shape == (22 + 3 * 246, 24 + 2 * 294, 3)
    # In the first column is no colour, in the second there is.
    assert np.ptp(whole[22:, 24 : 24 + 288], axis=2).max() == 0
    assert np.ptp(whole[22:, 24 + 294 : -6], axis=2).max() > 0.1
    out = capfd.readouterr().out
    assert f"picture    {tmp_path}/o.png" in out and "uint8 6x40x48, 40x8x8 nm" in out
    # Another view in the same folder replaces it.
    part, results = _draw(volumes, tmp_path, box="1:3,10:30,8:48", sections="z=2")
    assert results["voxels"] == 2 * 2 * 20 * 40 and results["sections"] == 1
    assert part.shape == (22 + 7 * 20 + 6, 24 + 2 * (7 * 40 + 6), 3)
    # Section 2 of raw, rows 10 to 29: the stretched values repeat with the period of the voxels, 8 rows.
    panel = part[22 : 22 + 140 : 7, 24 : 24 + 280 : 7, 0]
    assert np.array_equal(panel[:8], panel[8:16]) and panel[0, 0] < panel[4, 0]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_picture_shows_where_all_volumes_are(volumes, tmp_path, capfd):
    picture, results = _draw(volumes, tmp_path, volumes="{v}/a.h5:raw; {v}/s.zarr")
    assert results["layers"] == 2 and "from voxel 2,8,4" in capfd.readouterr().out
    # Sections 2, 3 and 4, of which each has colours: and none above row 8 and left of column 4.
    for row in range(3):
        over = picture[22 + row * 246 :][:240, 24 + 294 :][:, :288]
        assert np.ptp(over[49:], axis=2).max() > 0.1
        assert np.ptp(over[:48], axis=2).max() == 0 and np.ptp(over[:, :24], axis=2).max() == 0


def test_only_saying_what_is_there(volumes, tmp_path, capfd):
    fields = _fields(volumes, serve=False)
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    out = capfd.readouterr().out
    assert "labels     a.h5:labels: uint32" in out and "page" not in out
    assert json.loads((tmp_path / "run" / "results.json").read_text())["layers"] == 2


def test_page_ends_by_itself(volumes, tmp_path, capfd):
    fields = _fields(volumes, seconds=0.2, skeletons="{v}/n.swc")
    assert run_command(CONFIG, tmp_path / "run", fields) == 0
    assert re.search(r"page       http://127.0.0.1:\d+/v/\w+/", capfd.readouterr().out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_page_of_the_command_until_ctrl_c(volumes, tmp_path, number):
    command = [sys.executable, "-m", "emjax.main", "--config", CONFIG]
    command += [
        "--workdir",
        str(tmp_path),
        f"--config.volumes={volumes}/a.h5:raw; {volumes}/s.zarr",
    ]
    command += ["--config.box=2:6,8:40,:"]
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        command,
        cwd=root,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = ""
        while not url:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            found = re.search(r"http://\S+", line)
            url = found[0] if found else ""
        assert b"<script" in fetch(url)
        keys = sources(read_state(url))
        info = fetch_info(url, keys["a.h5:raw"])
        assert info["shape"] == [4, 32, 48] and info["voxelOffset"] == [2, 8, 0]
        chunk = fetch_chunk(url, keys["a.h5:raw"], (1, 1, 1), (1, 2, 3), (2, 3, 4))
        assert chunk.ravel().tolist() == [(2 + 1) * 40 + (8 + 2) % 8 * 4 + 3]
        part = fetch_info(url, keys["s.zarr"])
        assert part["shape"] == [3, 32, 44] and part["voxelOffset"] == [2, 8, 4]
        process.send_signal(number)
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_skeletons_are_drawn_over_the_whole(volumes, tmp_path):
    picture, results = _draw(volumes, tmp_path, skeletons="{v}/n.swc")
    assert results["skeletons"] == 1 and "sections" not in results
    red, green, blue = (picture[..., i] for i in range(3))
    # The line runs from the middle of the first quarter of the view along z to its middle.
    assert ((red > green + 0.2) & (blue > green + 0.2)).sum() > 50


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"volumes": ""}, ["volumes is empty", "--config.volumes="]),
        ({"volumes": "{v}/none.h5"}, ["no such path", "none.h5"]),
        ({"volumes": "{v}/broken.h5"}, ["broken.h5", "HDF5"]),
        ({"volumes": "{v}/a.h5:raw?level=1"}, ["no pyramid"]),
        ({"volumes": "{v}/a.h5:raw?kind=label"}, ["kind='label'", "did you mean 'labels'?"]),
        ({"box": "0:9"}, ["0:9", "the volume is (6, 40, 48)"]),
        ({"box": "0:2", "sections": "z=2", "png": "{v}/o.png"}, ["z=2 lies outside", "z 0 to 1"]),
        ({"sections": "10", "png": "{v}/o.png"}, ["sections='10'", "sections=z=10,20"]),
        ({"sections": "z=1"}, ["sections=z=1", "give --config.png=FILE.png"]),
        ({"png": "{v}/none/o.png"}, ["no folder", "none"]),
        ({"png": "{v}/o.jpg"}, ["o.jpg must end in .png"]),
        ({"png": "{v}/folder.png"}, ["is a folder"]),
        (
            {"png": "{v}/o.png", "sections": "z=1", "skeletons": "{v}/n.swc"},
            ["sections=z=1", "leave sections or skeletons out"],
        ),
        ({"skeletons": "{v}/none.swc"}, ["cannot read skeleton", "none.swc"]),
        ({"skeleton_unit": "0"}, ["skeleton_unit=0"]),
        ({"port": 70000}, ["port=70000"]),
        ({"seconds": -1}, ["seconds=-1"]),
        ({"bind": "203.0.113.1"}, ["cannot listen on 203.0.113.1", "--config.bind"]),
    ],
)
def test_what_cannot_be_shown_is_one_line(volumes, tmp_path, capfd, overrides, words):
    message = read_refusal(capfd, CONFIG, tmp_path / "run", _fields(volumes, **overrides))
    assert all(word in message for word in words), message
    assert not (volumes / "o.png").exists()


def test_port_that_is_taken(volumes, tmp_path, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = read_refusal(capfd, CONFIG, tmp_path / "run", _fields(volumes, port=port))
    assert f"cannot listen on 127.0.0.1:{port}" in message and "--config.port" in message
    assert not (tmp_path / "run" / "results.json").exists()


def test_folder_of_another_job_is_refused(volumes, tmp_path, capfd):
    folder = tmp_path / "run"
    folder.mkdir()
    stored = {"config": {"job": "finetune"}, "config_hash": "x"}
    (folder / "config.json").write_text(json.dumps(stored))
    (folder / "results.json").write_text("{}")
    message = read_refusal(capfd, CONFIG, folder, _fields(volumes, serve=False))
    assert "holds a run of another configuration" in message
    assert (folder / "results.json").read_text() == "{}"
