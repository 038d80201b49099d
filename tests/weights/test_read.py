"""Files of weights of every kind: found by their content, read lazily, refused in one line."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from emjax.errors import InputError
from emjax.weights import npz
from emjax.weights.read import read_arrays


def _real(shared_data: Path, name: str) -> Path:
    path = shared_data / "weights" / name
    if not path.exists():
        pytest.skip(f"needs the real weights {name}, which are not part of the repository")
    return path


def _npy(shape: str, data: bytes, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_safetensors(tmp_path):
    arrays = {
        "a/b.c": np.arange(6, dtype=np.float16).reshape(2, 3),
        "n": np.array([1, 2]),
        "empty": np.zeros((0, 4), np.float32),
    }
    safetensors.numpy.save_file(arrays, tmp_path / "model.safetensors")
    for path in (tmp_path / "model.safetensors", tmp_path):
        found = read_arrays(path)
        assert set(found) == set(arrays)
        assert found["a/b.c"].dtype == np.float32 and found.shape("a/b.c") == (2, 3)
        np.testing.assert_array_equal(found["a/b.c"], arrays["a/b.c"])
        assert found["n"].dtype == np.int64
        assert found["empty"].shape == (0, 4)


def test_bfloat16_of_safetensors(tmp_path):
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    data = np.array([0x3F80, 0xC000], np.uint16).tobytes()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(header)) + header + data)
    found = read_arrays(tmp_path / "w")["w"]
    assert found.dtype == np.float32 and found.tolist() == [1, -2]


@pytest.mark.parametrize("length", [9, 20, 60, -1])
def test_safetensors_cut_off(tmp_path, length):
    safetensors.numpy.save_file({"w": np.ones((4, 4), np.float32)}, tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    (tmp_path / "cut").write_bytes(data[:length])
    with pytest.raises(InputError, match="no whole file of safetensors"):
        read_arrays(tmp_path / "cut")


@pytest.mark.parametrize(
    "entries",
    [
        {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**50]}},
        {
            "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "v": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        },
        {"w": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}},
    ],
)
def test_safetensors_that_lie_or_are_quantized(tmp_path, entries):
    header = json.dumps(entries).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(InputError):
        read_arrays(tmp_path / "w")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "half": np.ones(3, np.float16)}
    save(tmp_path / "w.npz", **arrays)
    found = read_arrays(tmp_path / "w.npz")
    assert set(found) == set(arrays)
    np.testing.assert_array_equal(found["a/b"], arrays["a/b"])
    assert found["half"].dtype == np.float32


def test_npz_with_objects(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.array([{}, []], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        read_arrays(tmp_path / "w.npz")


def test_npz_that_declares_more_than_it_holds(tmp_path, monkeypatch):
    bomb = _zip(tmp_path / "a.npz", {"w.npy": _npy("(1000000000000,)", bytes(16))})
    with pytest.raises(InputError, match="not what it holds"):
        read_arrays(bomb)
    monkeypatch.setattr(npz, "_LARGE_BYTES", 10**6)
    entries = {"w.npy": _npy("(1000000,)", bytes(4_000_000))}
    path = _zip(tmp_path / "b.npz", entries, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="would grow from"):
        read_arrays(path)


def test_npz_cut_off_or_damaged(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.arange(1000))
    data = bytearray((tmp_path / "w.npz").read_bytes())
    data[2000] ^= 255
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"no whole \.npz"):
        read_arrays(tmp_path / "bad.npz")["w"]
    with pytest.raises(InputError):
        read_arrays(_zip(tmp_path / "short.npz", {"w.npy": b"\x93NUMPY\x01"}))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "no weights that can be read"),
        (b"hello, this is a text", "no weights that can be read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\x80\x04\x95" + bytes(40), "is a pickle"),
    ],
)
def test_what_is_no_weights(tmp_path, data, match):
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(InputError, match=match) as caught:
        read_arrays(tmp_path / "w")
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_arrays(tmp_path / "nothing.pt")
    with pytest.raises(InputError, match=r"without model\.safetensors"):
        read_arrays(tmp_path)
    with pytest.raises(InputError, match="local files"):
        read_arrays("gs://bucket/w.pt")
    with pytest.raises(InputError, match="with 'a.txt' in it"):
        read_arrays(_zip(tmp_path / "z.zip", {"a.txt": b""}))


def test_arrays_are_read_when_asked_for(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.ones(3), b=np.zeros(3))
    arrays = read_arrays(tmp_path / "w.npz")
    (tmp_path / "w.npz").unlink()
    assert len(arrays) == 2 and arrays.shape("a") == (3,)
    with pytest.raises(InputError):
        arrays["a"]


def test_real_dinov2(shared_data):
    arrays = read_arrays(_real(shared_data, "dinov2_small.safetensors"))
    assert len(arrays) == 222
    assert sum(int(np.prod(arrays.shape(name))) for name in arrays) == 22_056_192
    positions = arrays["embeddings.position_embeddings"]
    assert positions.shape == (1, 1370, 384) and positions.dtype == np.float32
    assert np.isfinite(positions).all()


def test_real_synapse_network(shared_data):
    # torch.load(path, "cpu", weights_only=True)["convmod1.conv2.conv.weight"].double().sum(), torch 2.13
    arrays = read_arrays(_real(shared_data, "mip1_d2_1175k.chkpt"))
    assert len(arrays) == 91
    kernel = arrays["convmod1.conv2.conv.weight"]
    assert kernel.shape == (36, 36, 3, 3, 3)
    np.testing.assert_allclose(kernel.astype(np.float64).sum(), 114.67496232410122, rtol=1e-12)


def test_real_flood_filling_network(shared_data):
    arrays = read_arrays(_real(shared_data, "ffn_fib25_params.npz"))
    assert arrays["seed_update.conv9_b.weights"].shape == (3, 3, 3, 32, 32)
