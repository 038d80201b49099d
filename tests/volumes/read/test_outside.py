"""Files that the metadata of a volume name elsewhere, and chunks that grow when they are decompressed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.read.compressed_chunks import CODECS
from emjax.volumes.read.outside import inside
from emjax.volumes.store import open_volume


@pytest.fixture
def address() -> Address:
    return Address.parse("a.zarr")


@pytest.mark.parametrize(
    "key",
    ["../b", "a/../../b", "%2e%2e/b", "..%2fb", "%252e%252e/b", r"..\b", "file:///etc", ".."],
)
def test_what_leads_out_of_the_folder_is_refused(address: Address, key: str) -> None:
    with pytest.raises(InputError, match="outside of its folder.*outside=allow"):
        inside(address, key)
    assert inside(Address.parse("a.zarr?outside=allow"), key) == key.strip("/")


@pytest.mark.parametrize("key", ["0", "/s0/", "8_8_40", "a..b/c", "a b/c%20d"])
def test_other_keys_stay(address: Address, key: str) -> None:
    assert inside(address, key) == key.strip("/")


def test_hdf5_reads_no_file_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(64)))
    file, source = tmp_path / "own" / "a.h5", tmp_path / "other.h5"
    with h5py.File(source, "w") as other:
        other["x"] = np.ones((4, 4, 4), np.uint8)
    with h5py.File(file, "w") as made:
        made.create_dataset("external", (4, 4, 4), "uint8", external=[(str(secret), 0, 64)])
        layout = h5py.VirtualLayout((4, 4, 4), "uint8")
        layout[:] = h5py.VirtualSource(str(source), "x", (4, 4, 4))
        made.create_virtual_dataset("virtual", layout)
        made["link"] = h5py.ExternalLink(str(source), "x")
    for name, holder in (("external", secret), ("virtual", source), ("link", source)):
        with pytest.raises(InputError, match=f"voxels are in {holder}.*outside=allow"):
            open_volume(f"{file}:{name}")
        assert open_volume(f"{file}:{name}?outside=allow").size == (4, 4, 4)


def test_more_tiles_than_can_be_looked_for(tmp_path: Path) -> None:
    about = {"image": ["0/{row}_{column}.png"], "height": 10**9, "width": 10**9, "tile_size": 1}
    (tmp_path / "em.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"describes 1000000000000000000 tiles, more than 5000000"):
        open_volume(str(tmp_path / "em.json"))


@pytest.mark.parametrize(
    ("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_no_more_than_the_limit_is_decompressed(ending: str, compress) -> None:
    data = compress(bytes(1000))
    assert CODECS[ending](data, 1000) == bytes(1000)
    assert len(CODECS[ending](data, 999)) == 1000
    assert len(CODECS[ending](compress(bytes(1 << 24)), 10)) == 11
    assert CODECS[ending](data + compress(b"more"), 2000) == bytes(1000) + b"more"
    with pytest.raises(EOFError):
        CODECS[ending](data[:-9], 2000)
