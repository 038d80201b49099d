"""Parts come back as they were written, or are named."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.blocks.parts import part_path, read_part, read_shared, write_part
from emjax.errors import InputError


def test_round_trip(tmp_path):
    path = part_path(f"{tmp_path}/parts/count/", 17)
    assert path == f"{tmp_path}/parts/count/block-17.npz"
    arrays = {"ids": np.asarray([2**64 - 1], np.uint64), "none": np.zeros((0, 3), np.int64)}
    write_part(path, arrays)
    found = read_part(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


@pytest.mark.parametrize("damage", [lambda b: b[:50], lambda b: b"", lambda b: b"\0" * len(b)])
def test_damaged_parts_are_named(tmp_path, damage):
    path = tmp_path / "parts" / "count" / "block-0.npz"
    write_part(path, {"a": np.arange(5)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"block-0.npz .*delete the folder {tmp_path}/parts,"):
        read_part(path)
    path.unlink()
    with pytest.raises(InputError, match="FileNotFoundError"):
        read_part(path)


def test_what_all_blocks_need_is_read_once_in_a_run(tmp_path):
    path = f"{tmp_path}/points.npz"
    write_part(path, {"a": np.arange(5)})
    first = read_shared(path, "one")
    assert read_shared(path, "one") is first
    write_part(path, {"a": np.arange(6)})
    assert len(read_shared(path, "another")["a"]) == 6
