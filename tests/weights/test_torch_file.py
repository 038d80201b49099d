"""Checkpoints of torch: what they hold, and everything that a malicious or damaged one could try."""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.weights.read import read_arrays

from . import torch_layout as layout

NUMBERS = np.arange(24, dtype=np.float32)


class _Evil:
    """What its pickle would run when it is opened."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self._marker}",)


def test_tensors_are_views_of_storages(tmp_path):
    tensors = {
        "a.weight": layout.tensor("0", 24, (2, 3, 4), (12, 4, 1)),
        "transposed": layout.tensor("0", 24, (4, 6), (1, 4)),
        "column": layout.tensor("0", 24, (6,), (4,), offset=3),
        "scalar": layout.tensor("1", 1, (), (), kind="i8"),
        "empty": layout.tensor("0", 24, (0, 5), (5, 1)),
    }
    storages = {"0": NUMBERS, "1": np.array([7])}
    path = layout.write_zip(tmp_path / "w.pt", layout.state_dict(tensors), storages)

    arrays = read_arrays(path)

    assert list(arrays) == list(tensors)
    assert arrays.shape("transposed") == (4, 6)
    np.testing.assert_array_equal(arrays["a.weight"], NUMBERS.reshape(2, 3, 4))
    np.testing.assert_array_equal(arrays["transposed"], NUMBERS.reshape(6, 4).T)
    np.testing.assert_array_equal(arrays["column"], [3, 7, 11, 15, 19, 23])
    assert arrays["scalar"] == 7 and arrays["scalar"].dtype == np.int64
    assert arrays["empty"].shape == (0, 5)


def test_the_older_form_holds_the_same(tmp_path):
    tensors = {
        "a": layout.tensor("94", 24, (4, 6), (1, 4), legacy=True),
        "b": layout.tensor("95", 3, (3,), (1,), kind="f2", legacy=True),
    }
    storages = {"95": np.array([1, 2, 3.5], np.float16), "94": NUMBERS}
    path = layout.write_legacy(tmp_path / "w.pth", layout.state_dict(tensors), storages)
    arrays = read_arrays(path)
    np.testing.assert_array_equal(arrays["a"], NUMBERS.reshape(6, 4).T)
    assert arrays["b"].dtype == np.float32 and arrays["b"].tolist() == [1, 2, 3.5]


def test_sixteen_bits_come_as_thirty_two(tmp_path):
    tensors = {"x": layout.tensor("0", 3, (3,), (1,), kind="bf16")}
    storages = {"0": np.array([0x3F80, 0xC000, 0x4049], np.uint16)}  # 1, -2, 3.140625
    arrays = read_arrays(layout.write_zip(tmp_path / "w.pt", layout.state_dict(tensors), storages))
    assert arrays["x"].dtype == np.float32 and arrays["x"].tolist() == [1, -2, 3.140625]


def test_nested_dicts_are_joined_and_numbers_passed_over(tmp_path):
    inner = layout.state_dict({"w": layout.tensor("0", 24, (24,), (1,))})[2:-1]
    data = b"\x80\x02}" + layout.text("model") + inner + b"s"
    data += layout.text("epoch") + layout.whole(3) + b"s."
    path = layout.write_zip(tmp_path / "w.pt", data, {"0": NUMBERS})
    assert list(read_arrays(path)) == ["model.w"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_calls_something_is_refused_by_its_name_and_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    data = pickle.dumps({"w": _Evil(marker)}, protocol=protocol)
    path = layout.write_zip(tmp_path / "w.pt", data, {})
    with pytest.raises(InputError, match=r"wants to use (posix|nt)\.system") as caught:
        read_arrays(path)
    assert "\n" not in str(caught.value)
    path = layout.write_legacy(tmp_path / "w.pth", data, {})
    with pytest.raises(InputError, match=r"wants to use (posix|nt)\.system"):
        read_arrays(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"\x80\x02(S'true'\nios\nsystem\n.", "os.system"),
        (b"\x80\x02cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "__globals__"),
        (b"\x80\x02\x82\x01.", "opcode EXT1"),
        (b"\x80\x02Psomething\n.", "opcode PERSID"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"),
    ],
)
def test_every_other_way_to_a_callable_is_refused(tmp_path, data, named):
    with pytest.raises(InputError, match=named.replace(".", r"\.")):
        read_arrays(layout.write_zip(tmp_path / "w.pt", data, {}))


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02r\xff\xff\xff\xff.",  # nothing to remember, under a number that would fill memory
        b"\x80\x02}r\xff\xff\xff\x7f0.",  # an empty stack at the end
        b"\x80\x02u.",
        b"\x80\x02(K\x01K\x02t.K",  # after the end
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",  # a text of 2 GB in 3 bytes
        b"\x80\x02ccollections\nOrderedDict\nK\x01R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"",
        b"no pickle",
    ],
)
def test_nonsense_is_an_input_error_or_nothing(tmp_path, data):
    path = layout.write_zip(tmp_path / "w.pt", data, {})
    try:
        assert len(read_arrays(path)) == 0
    except InputError as error:
        assert str(path) in str(error)


def test_dicts_that_hold_each_other_end(tmp_path):
    # Each level holds the one before twice: 2^60 names in 600 bytes.
    data = b"\x80\x02(}q\x00"
    for _ in range(60):
        data += b"}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x00"
    data += b"t."
    with pytest.raises(InputError, match="without end"):
        read_arrays(layout.write_zip(tmp_path / "w.pt", data, {}))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"size": (25,), "stride": (1,)}, "reaches beyond"),
        ({"size": (4, 6), "stride": (6, 1), "offset": 1}, "reaches beyond"),
        ({"size": (2, 2), "stride": (2**62, 1)}, "reaches beyond"),
        ({"size": (2**20, 2**20), "stride": (0, 0)}, "more than once"),
        ({"size": (12, 12), "stride": (1, 1)}, "more than once"),
        ({"size": (3, 4), "stride": (3, 1)}, "more than once"),
        ({"size": (4,), "stride": (-1,)}, "no size"),
        ({"size": (4,), "stride": (1, 1)}, "strides"),
        ({"size": (4,), "stride": (1,), "count": 2**40}, "declares"),
        ({"size": (4,), "stride": (1,), "count": 23}, "declares"),
    ],
)
def test_sizes_are_compared_with_the_file(tmp_path, fields, match):
    given = {"count": 24, **fields}
    pickled = layout.state_dict({"w": layout.tensor("0", **given)})
    with pytest.raises(InputError, match=match):
        read_arrays(layout.write_zip(tmp_path / "w.pt", pickled, {"0": NUMBERS}))
    pickled = layout.state_dict({"w": layout.tensor("0", legacy=True, **given)})
    with pytest.raises(InputError):
        read_arrays(layout.write_legacy(tmp_path / "w.pth", pickled, {"0": NUMBERS}))


def test_a_key_is_no_path(tmp_path):
    (tmp_path / "secret").write_bytes(NUMBERS.tobytes())
    pickled = layout.state_dict({"w": layout.tensor("../../secret", 24, (24,), (1,))})
    with pytest.raises(InputError, match="no data/"):
        read_arrays(layout.write_zip(tmp_path / "w.pt", pickled, {"0": NUMBERS}))


def test_compressed_and_foreign_order_are_refused(tmp_path):
    pickled = layout.state_dict({"w": layout.tensor("0", 24, (24,), (1,))})
    deflated = layout.write_zip(
        tmp_path / "a.pt", pickled, {"0": NUMBERS}, compression=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(InputError, match="compressed"):
        read_arrays(deflated)
    foreign = layout.write_zip(tmp_path / "b.pt", pickled, {"0": NUMBERS}, order=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_arrays(foreign)


def test_a_zip_that_lies_about_an_entry(tmp_path):
    pickled = layout.state_dict({"w": layout.tensor("0", 2**28, (2**28,), (1,))})
    path = layout.write_zip(tmp_path / "w.pt", pickled, {"0": NUMBERS})
    data = path.read_bytes()
    # In the list of entries at the end the storage becomes 1 GiB, as the pickle has it.
    at = data.rindex(b"archive/data/0") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    big = struct.pack("<II", 2**30, 2**30)
    path.write_bytes(data[: at + 20] + big + data[at + 28 :])
    with pytest.raises(InputError, match="outside of the file"):
        read_arrays(path)


def test_cut_off_anywhere_it_is_an_input_error(tmp_path):
    tensors = {"w": layout.tensor("0", 24, (24,), (1,), legacy=True)}
    whole = layout.write_legacy(tmp_path / "w.pth", layout.state_dict(tensors), {"0": NUMBERS})
    data = whole.read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        with pytest.raises(InputError):
            read_arrays(tmp_path / "cut.pth")


def test_two_arrays_of_one_name(tmp_path):
    one = layout.tensor("0", 24, (24,), (1,))
    data = b"\x80\x02}(" + layout.text("a") + b"}" + layout.text("b") + one + b"s"
    data += layout.text("a.b") + one + b"u."
    with pytest.raises(InputError, match="two arrays called 'a.b'"):
        read_arrays(layout.write_zip(tmp_path / "w.pt", data, {"0": NUMBERS}))
