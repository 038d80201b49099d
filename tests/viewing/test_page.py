"""The page as a browser asks for it: its files, its state, its voxels, in the order z, y, x."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
import urllib.error
from pathlib import Path

import h5py
import neuroglancer
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.skeletons.skeleton import Skeleton
from emjax.viewing.layers import open_layers
from emjax.viewing.page import fill_state, serve, wait
from emjax.volumes.create import create_volume

from .pages import fetch, fetch_chunk, fetch_info, read_state, sources

SHAPE, VOXEL_NM = (3, 4, 5), (40.0, 8.0, 4.0)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """An image, ids and a prediction that cover part of it; the value of a voxel says where it is."""
    path = tmp_path_factory.mktemp("volumes")
    z, y, x = np.indices(SHAPE)
    with h5py.File(path / "a.h5", "w") as file:
        file["raw"] = (z * 50 + y * 10 + x).astype(np.uint8)
        file["raw"].attrs["resolution"] = VOXEL_NM
        file["bare"] = file["raw"][...]
    ids = (z[1:] * 100 + y[1:] * 10 + x[1:] + 2**40).astype(np.uint64)
    store = create_volume(
        path / "s.zarr", ids.shape, np.uint64, VOXEL_NM, {"kind": "segmentation"}, origin=(1, 0, 0)
    )
    store.write(ids).result()
    offsets = [[0, 0, -1], [0, -1, 0], [-1, 0, 0], [0, -9, 0]]
    known = {"targets": ["affinity"] * 4, "offsets": offsets, "scale": 1 / 255}
    store = create_volume(
        path / "p.zarr", (4, 2, 3, 4), np.uint8, VOXEL_NM, known, origin=(1, 1, 1)
    )
    store.write(np.arange(96, dtype=np.uint8).reshape(4, 2, 3, 4)).result()
    return path


def _layers(volumes: Path, *names: str) -> list:
    return open_layers([f"{volumes}/{name}" for name in names])


def test_the_page_opens_where_all_volumes_are(volumes):
    state = neuroglancer.ViewerState()
    fill_state(state, _layers(volumes, "a.h5:raw", "s.zarr", "a.h5:raw[2:3,0:1,0:2]"), [])
    assert list(state.position) == [2.5, 0.5, 1.0]
    # Close enough to see what they share: two voxels of 4 nm in a panel, not five.
    alone = neuroglancer.ViewerState()
    fill_state(alone, _layers(volumes, "a.h5:raw"), [])
    assert list(alone.position) == [1.5, 2.0, 2.5]
    assert state.cross_section_scale <= alone.cross_section_scale


def test_state_and_voxels(volumes):
    layers = _layers(volumes, "a.h5:raw", "p.zarr", "s.zarr")
    with serve(layers, [], "127.0.0.1", 0) as url:
        state = read_state(url)
        assert [layer["name"] for layer in state["layers"]] == ["a.h5:raw", "p.zarr", "s.zarr"]
        assert [layer["type"] for layer in state["layers"]] == ["image", "image", "segmentation"]
        scales = {name: round(v[0] * 1e9, 6) for name, v in state["dimensions"].items()}
        assert scales == {"z": 40, "y": 8, "x": 4} and list(scales) == ["z", "y", "x"]
        assert state["displayDimensions"] == ["x", "y", "z"]
        assert state["position"] == [1.5, 2, 2.5]
        # Affinities would hide the rest.
        assert [group["layers"] for group in state["layout"]["children"]] == [
            ["a.h5:raw", "s.zarr"],
            ["p.zarr"],
        ]
        keys = sources(state)
        raw = fetch_info(url, keys["a.h5:raw"])
        assert raw["shape"] == list(SHAPE) and raw["voxelOffset"] == [0, 0, 0]
        chunk = fetch_chunk(url, keys["a.h5:raw"], (1, 1, 1), (1, 2, 0), (3, 4, 5))
        assert chunk.shape == (2, 2, 5) and chunk[1, 1, 4] == 2 * 50 + 3 * 10 + 4
        assert chunk[0, 0].tolist() == [70, 71, 72, 73, 74]
        ids = fetch_info(url, keys["s.zarr"])
        assert (ids["dataType"], ids["voxelOffset"]) == ("uint64", [1, 0, 0])
        # The first voxel of the part is the second section of the whole.
        first = fetch_chunk(url, keys["s.zarr"], (1, 1, 1), (0, 0, 0), (1, 1, 2))
        assert first.ravel().tolist() == [2**40 + 100, 2**40 + 101]


def test_a_page_begins_with_all_that_can_be_read_quickly(volumes, tmp_path):
    """Of 200 x 4000 x 6000 voxels nothing is stored, so that only the page counts."""
    create_volume(tmp_path / "large.zarr", (200, 4000, 6000), np.uint32, (40.0, 8.0, 8.0), {})
    create_volume(tmp_path / "small.zarr", (20, 150, 100), np.uint32, (40.0, 8.0, 8.0), {})
    scales = {}
    for name in ("small", "large"):
        with serve(open_layers(f"{tmp_path}/{name}.zarr"), [], "127.0.0.1", 0) as url:
            scales[name] = read_state(url)["crossSectionScale"]
    # All of it in 300 pixels; or two of the coarsest voxels in each, 1 x 4 x 4 (2 x 8 x 8 are more than 64).
    assert scales["small"] == pytest.approx(150 / 300)
    assert scales["large"] == 2 * 4


def test_affinities(volumes):
    with serve(_layers(volumes, "p.zarr"), [], "127.0.0.1", 0) as url:
        state = read_state(url)
        (layer,) = state["layers"]
        # Red, green and blue join neighbours along z, y and x.
        channels = {name: c["channel"] for name, c in layer["shaderControls"].items()}
        assert channels == {"red": [2], "green": [1], "blue": [0]}
        assert {tuple(c["range"]) for c in layer["shaderControls"].values()} == {(0, 255)}
        info = fetch_info(url, sources(state)["p.zarr"])
        assert info["voxelOffset"] == [0, 1, 1, 1] and info["shape"] == [4, 2, 3, 4]
        assert list(info["coordinateSpace"]) == ["c^", "z", "y", "x"]
        chunk = fetch_chunk(url, sources(state)["p.zarr"], (1,) * 4, (1, 0, 2, 0), (3, 2, 3, 4))
        expected = np.arange(96).reshape(4, 2, 3, 4)[1:3, :, 2:3]
        assert np.array_equal(chunk, expected)
        assert state["layout"] == "4panel"


def test_without_a_voxel_size_lengths_are_voxels(volumes):
    with serve(_layers(volumes, "a.h5:bare"), [], "127.0.0.1", 0) as url:
        state = read_state(url)
        assert set(map(tuple, state["dimensions"].values())) == {(1, "")}


def test_the_page_fetches_nothing_from_elsewhere(volumes):
    with serve(_layers(volumes, "a.h5:raw"), [], "127.0.0.1", 0) as url:
        page = fetch(url).decode()
        files = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert any(name.endswith(".js") for name in files)
        assert not [name for name in files if "//" in name]
        for name in files:
            assert len(fetch(url + name)) > 1000
        # Who does not know the link gets nothing.
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(url.partition("/v/")[0] + "/v/guess/")
    with pytest.raises(urllib.error.URLError):
        fetch(url)


def test_skeletons_are_numbered_in_nm(volumes):
    points = np.asarray([[40.0, 8, 4], [80, 8, 4], [80, 24, 16]])
    skeleton = Skeleton(points, np.asarray([-1, 0, 1]), np.zeros(3))
    with serve(_layers(volumes, "a.h5:raw"), [skeleton], "127.0.0.1", 0) as url:
        state = read_state(url)
        assert state["layers"][1]["segments"] == ["1"]
        key, root = sources(state)["skeletons"], url.partition("/v/")[0]
        data = fetch(f"{root}/neuroglancer/skeleton/{key}/1")
        assert np.frombuffer(data[:8], "<u4").tolist() == [3, 2]
        assert np.array_equal(np.frombuffer(data[8:44], "<f4").reshape(3, 3), points)
        assert np.frombuffer(data[44:], "<u4").tolist() == [1, 0, 2, 1]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(f"{root}/neuroglancer/skeleton/{key}/2")


def test_port_and_address_that_cannot_be_used(volumes):
    layers = _layers(volumes, "a.h5:raw")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{number}"):
            with serve(layers, [], "127.0.0.1", number):
                pass
    with serve(layers, [], "127.0.0.1", number) as url:
        assert url.startswith(f"http://127.0.0.1:{number}/v/")
        # Two pages at once do not know of each other.
        with serve(layers, [], "127.0.0.1", 0) as other:
            assert fetch(other)
        assert fetch(url)
    with pytest.raises(InputError, match="cannot listen on 203.0.113.1:0"):
        with serve(layers, [], "203.0.113.1", 0):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_ends_by_signal_or_time(number):
    before = signal.getsignal(number)
    threading.Timer(0.2, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    wait(20)
    assert time.monotonic() - began < 10 and signal.getsignal(number) is before
    began = time.monotonic()
    wait(0.1)
    assert 0.1 <= time.monotonic() - began < 10


def test_a_part_that_cannot_be_read_is_no_page_that_fails(volumes, tmp_path):
    create_volume(tmp_path / "b.zarr", SHAPE, np.uint32, VOXEL_NM, {})
    (layer,) = open_layers(f"{tmp_path}/b.zarr?missing=error")
    with serve([layer], [], "127.0.0.1", 0) as url:
        key = sources(read_state(url))["b.zarr"]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            fetch_chunk(url, key, (1, 1, 1), (0, 0, 0), SHAPE)
