"""What tells a volume from another one of the same name."""

from __future__ import annotations

import os

import numpy as np

from emjax.blocks.fingerprint import fingerprint
from emjax.volumes.write.zarr import create_volume


def test_fingerprints_change_with_the_volume(tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    create_volume(path, (2, 3, 4), np.uint8, None, {})
    first = fingerprint(str(path))
    assert len(first) == 2 and fingerprint(str(path)) == first
    monkeypatch.chdir(tmp_path)
    assert fingerprint("a.zarr") == first
    assert fingerprint("a.zarr[0:1]") != first
    # An array inside of it counts, too.
    assert len(fingerprint("a.zarr:0")) == 3
    os.utime(path / "zarr.json", ns=(1, 1))
    assert fingerprint(str(path)) != first
    (tmp_path / "b.h5").write_bytes(b"one")
    file = fingerprint("b.h5:labels")
    (tmp_path / "b.h5").write_bytes(b"another")
    assert fingerprint("b.h5:labels") != file


def test_of_what_is_no_file_the_address_is_known():
    assert fingerprint("gs://bucket/a.zarr?level=1") == ["gs://bucket/a.zarr?level=1"]
    assert len(fingerprint("synthetic://neurites?seed=3")) == 1
    assert len(fingerprint("/nowhere/*.png")) == 1
