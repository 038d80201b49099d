"""The same addresses on a web server: right voxels, only the chunks that are needed, one line when it fails."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore as ts
import zarr

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.volumes import format
from emjax.volumes.attributes import parent_url, read_attributes
from emjax.volumes.create import create_volume
from emjax.volumes.read import folder_metadata
from emjax.volumes.store import open_volume

_VOXELS = np.random.default_rng(0).integers(1, 255, (16, 32, 32), np.uint8)
_BOX = Box((1, 2, 3), (4, 5, 6))
_WHOLE = Box((0, 0, 0), (16, 32, 32))


class _Server(http.server.ThreadingHTTPServer):
    """Hands out the files of a folder, and remembers what it was asked for.

    Attributes:
        root: the folder.
        asked: (path, range) of each request that was answered with data.
        sent: bytes of data.
        broken: whether to answer 503 to everything.
    """

    # Closing would wait for connections that clients keep open.
    block_on_close = False

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.asked, self.sent, self.broken = root, [], 0, False

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"

    def chunks(self) -> list[str]:
        """Returns the files asked for that hold voxels, and forgets them."""
        names = ("zarr.json", ".zarray", ".zattrs", ".zgroup", "attributes.json", "info")
        paths = [path for path, _ in self.asked if path.rpartition("/")[2] not in names]
        self.asked, self.sent = [], 0
        return sorted(set(paths))


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET of whole files and of ranges."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:  # noqa: N802
        """Answers a request."""
        path = self.server.root / self.path.lstrip("/")
        if self.server.broken or not path.is_file():
            self._answer(503 if self.server.broken else 404, b"")
            return
        data, part = path.read_bytes(), self.headers.get("Range")
        extra, status = {}, 200
        if part:
            first, last = re.match(r"bytes=(\d*)-(\d*)", part).groups()
            start = int(first) if first else len(data) - int(last)
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            status, extra = 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
            data = data[start:stop]
        self.server.asked.append((self.path.lstrip("/"), part))
        self.server.sent += len(data)
        self._answer(status, data, extra)

    def _answer(self, status: int, data: bytes, extra: dict | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(extra or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[_Server]:
    """A server of `tmp_path`."""
    server = _Server(tmp_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _write(folder: Path, kind: str) -> None:
    """Writes the voxels in chunks of 8, of 40, 8 and 4 nm."""
    path = folder / "a"
    if kind in ("zarr2", "zarr3"):
        array = zarr.create_array(
            path, data=_VOXELS, chunks=(8, 8, 8), zarr_format=int(kind[-1]), compressors=None
        )
        array.attrs["resolution"] = [40, 8, 4]
    elif kind == "sharded":
        size, chunk = (8, 8, 8), (8, 32, 32)
        store = create_volume(path, _VOXELS.shape, "uint8", (40, 8, 4), {}, size, chunk)
        store.write(_VOXELS).result()
    elif kind == "n5":
        metadata = {
            **{"dataType": "uint8", "dimensions": [32, 32, 16], "blockSize": [8, 8, 8]},
            **{"compression": {"type": "gzip"}, "resolution": [4, 8, 40]},
        }
        spec = {"driver": "n5", "kvstore": path.as_uri() + "/", "metadata": metadata}
        ts.open(spec, create=True).result().write(_VOXELS.T).result()
    else:
        sharding = {
            **{"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "shard_bits": 1},
            **{"preshift_bits": 1, "minishard_bits": 1, "data_encoding": "gzip"},
        }
        scale = {
            **{"size": [32, 32, 16], "resolution": [4, 8, 40], "encoding": "raw"},
            **{"chunk_size": [8, 8, 8], "voxel_offset": [100, 50, 7]},
            **({"sharding": sharding} if kind == "precomputed_sharded" else {}),
        }
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": path.as_uri() + "/",
            "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
            "scale_metadata": scale,
        }
        ts.open(spec, create=True).result().write(_VOXELS.T[..., None]).result()


_KINDS = ("zarr3", "zarr2", "sharded", "n5", "precomputed", "precomputed_sharded")


@pytest.mark.parametrize("kind", _KINDS)
def test_a_crop_fetches_its_chunks_and_those_once(
    tmp_path: Path, served: _Server, kind: str
) -> None:
    _write(tmp_path, kind)
    volume = open_volume(f"{served.url}/a[:,8:]")
    assert volume.size == (16, 24, 32)
    np.testing.assert_allclose(volume.voxel_nm, (40, 8, 4))
    served.chunks()
    # Chunk 0 of z, 1 and 2 of y, 0 and 1 of x.
    box = Box((1, 2, 3), (4, 8, 6))
    for _ in range(3):
        np.testing.assert_array_equal(volume.read(box), _VOXELS[1:5, 10:18, 3:9])
    sent = served.sent
    asked = served.chunks()
    if "sharded" not in kind:
        assert len(asked) == 4
        assert sent < 5 * 8**3
    else:
        # A few chunks and indices of one or two files; the volume is 16 KiB.
        assert len(asked) <= 2
        assert sent < 8000


def test_keys_and_datasets(tmp_path: Path, served: _Server) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("em/raw", data=_VOXELS, chunks=(8, 8, 8))
    for address in ("a.zarr/em/raw", "a.zarr:em/raw", "a.zarr:em/raw[:]"):
        volume = open_volume(f"{served.url}/{address}?voxel_nm=30,6,6")
        assert volume.voxel_nm == (30, 6, 6)
        np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])
    np.testing.assert_array_equal(
        open_volume(f"zarr3://{served.url}/a.zarr/em/raw[2:3]").store.read().result(), _VOXELS[2:3]
    )


def test_nothing_there(tmp_path: Path, served: _Server) -> None:
    with pytest.raises(InputError, match=rf"{served.url}/b\.zarr holds no zarr, N5 or precomputed"):
        open_volume(f"{served.url}/b.zarr")
    _write(tmp_path, "zarr3")
    (tmp_path / "a/c/0/1/0").unlink()
    assert not open_volume(f"{served.url}/a").read(Box((0, 8, 0), (8, 8, 8))).any()
    with pytest.raises(InputError, match=r"at \[0:8,8:16,0:8\]: .*c/0/1/0.* is missing"):
        open_volume(f"{served.url}/a?missing=error").read(_WHOLE)


_HASTE = {"http_request_retries": {"max_retries": 1, "initial_delay": "1ms", "max_delay": "1ms"}}


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(
        InputError,
        match=r"http://127\.0\.0\.1:1/a\.zarr cannot be read: .*Could not connect.*; check address and network",
    ) as raised:
        open_volume("http://127.0.0.1:1/a.zarr", context=ts.Context(_HASTE))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "n5"])
def test_an_array_that_is_all_of_a_server(tmp_path: Path, served: _Server, kind: str) -> None:
    _write(tmp_path, kind)
    served.root = tmp_path / "a"
    volume = open_volume(served.url, context=ts.Context(_HASTE))
    np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])
    assert read_attributes(served.url) == {}


def test_nothing_is_above_a_server() -> None:
    for root in ("http://host/", "gs://bucket/", "file:///", "file:///a.zip|zip:"):
        assert parent_url(root) == ("", "")
    assert parent_url("gs://bucket/a%20b/") == ("gs://bucket/", "a b")
    assert parent_url("file:///a/") == ("file:///", "a")
    assert parent_url("file:///a.zip|zip:b/") == ("file:///a.zip|zip:", "b")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_metadata, "PATIENCE", 0.2)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1/a\.zarr did not answer in 0 s"):
        open_volume("http://127.0.0.1:1/a.zarr", context=ts.Context())


def test_a_server_that_breaks_may_come_back(tmp_path: Path, served: _Server) -> None:
    _write(tmp_path, "zarr3")
    volume = open_volume(f"{served.url}/a", context=ts.Context(_HASTE))
    served.broken = True
    with pytest.raises(
        OSError, match=r"/a cannot be read at \[1:5,2:7,3:9\]: .*Service Unavailable"
    ):
        volume.read(_BOX)
    served.broken = False
    np.testing.assert_array_equal(volume.read(_BOX), _VOXELS[_BOX.slices])


@pytest.mark.parametrize(
    ("address", "store"),
    [
        (
            "gs://bucket/a/em.zarr?level=1",
            {"driver": "gcs", "bucket": "bucket", "path": "a/em.zarr/"},
        ),
        ("s3://bucket/em.n5:raw", {"driver": "s3", "bucket": "bucket", "path": "em.n5/raw/"}),
        (
            "https://host/em:x[0:4]",
            {"driver": "http", "base_url": "https://host", "path": "/em/x/"},
        ),
    ],
)
def test_addresses_of_buckets(
    monkeypatch: pytest.MonkeyPatch, address: str, store: dict[str, str]
) -> None:
    """What is asked of TensorStore, without a network."""
    asked: list[str] = []

    def look(base: str, _: ts.Context) -> None:
        asked.append(base)
        raise InputError("enough")

    monkeypatch.setattr(format, "read_metadata", look)
    with pytest.raises(InputError, match="enough"):
        open_volume(address)
    spec = ts.KvStore.Spec(asked[0]).to_json()
    assert {name: spec.get(name) for name in store} == store


# What emjax wrote may have no chunks: sharded.
@pytest.mark.parametrize("kind", [kind for kind in _KINDS if kind != "sharded"])
def test_a_server_with_metadata_and_no_chunks(tmp_path: Path, served: _Server, kind: str) -> None:
    """A few chunks are asked for, of which the first is there as a rule."""
    _write(tmp_path, kind)
    assert open_volume(f"{served.url}/a").size == (16, 32, 32)
    assert len(served.chunks()) == 1
    names = ("zarr.json", ".zarray", ".zattrs", "attributes.json", "info")
    for file in (tmp_path / "a").rglob("*"):
        if file.is_file() and file.name not in names:
            file.unlink()
    with pytest.raises(
        InputError, match="/a(/0)? has metadata, but no chunk of it was found, such"
    ):
        open_volume(f"{served.url}/a")
    volume = open_volume(f"{served.url}/a?missing=fill", context=ts.Context())
    assert not volume.read(_BOX).any()
