"""What tells a volume from another one of the same name."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from emjax.blocks.fingerprint import differences, fingerprint
from emjax.volumes.create import create_volume


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


def _later(path) -> None:
    """As a file that is written in the next second."""
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_new_chunks_tell_though_the_metadata_stay(tmp_path):
    path = tmp_path / "a.zarr"
    store = create_volume(path, (4, 8, 8), np.uint8, None, {}, chunk=(4, 4, 4), shard=(4, 4, 4))
    store.write(1).result()
    before = fingerprint(str(path))
    assert fingerprint(str(path)) == before
    # What lies beside the array, and a lock, are no part of it.
    (tmp_path / "notes.txt").write_text("")
    (path / ".a.lock").write_text("")
    assert fingerprint(str(path)) == before
    _later(path / "0" / "c" / "0" / "1" / "0")
    assert differences(before, fingerprint(str(path))) == [f"{path} was written since"]


def test_a_folder_of_too_many_chunks_is_known_by_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr("emjax.blocks.fingerprint._MOST_FILES", 3)
    folder = tmp_path / "a.zarr" / "many"
    folder.mkdir(parents=True)
    for name in ("x", "many/0", "many/1", "many/2"):
        (tmp_path / "a.zarr" / name).write_bytes(b"1")
    (tmp_path / "a.zarr" / ".zgroup").write_text("{}")
    before = fingerprint(str(tmp_path / "a.zarr"))
    _later(folder / "1")
    assert fingerprint(str(tmp_path / "a.zarr")) == before
    _later(folder)
    assert fingerprint(str(tmp_path / "a.zarr")) != before


@pytest.mark.parametrize("address", ["sections", "sections/*.png"])
def test_every_section_counts(tmp_path, address):
    folder = tmp_path / "sections"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"1")
    before = fingerprint(f"{tmp_path}/{address}")
    (folder / "notes.txt").write_text("")
    assert fingerprint(f"{tmp_path}/{address}") == before and len(before) == 2
    _later(folder / "1.png")
    changed = fingerprint(f"{tmp_path}/{address}")
    assert changed != before
    (folder / "1.png").rename(folder / "3.png")
    assert fingerprint(f"{tmp_path}/{address}") not in (before, changed)


def test_files_that_a_file_refers_to_count(tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file["a"] = np.zeros((4, 4, 4), np.uint8)
    layout = h5py.VirtualLayout((4, 4, 4), np.uint8)
    layout[:] = h5py.VirtualSource("source.h5", "a", (4, 4, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
        file["other"] = np.zeros(3)
    (tmp_path / "0_0.png").write_bytes(b"1")
    (tmp_path / "a.json").write_text('{"image": ["{row}_{column}.png"]}')
    addresses = [f"{tmp_path}/{name}" for name in ("a.h5", "a.h5:raw", "a.h5:other", "a.json")]
    before = [fingerprint(address) for address in addresses]
    _later(tmp_path / "source.h5")
    _later(tmp_path / "0_0.png")
    said = [differences(b, fingerprint(a)) for a, b in zip(addresses, before, strict=True)]
    source = f"{tmp_path}/source.h5 was written since"
    assert said == [[source], [source], [], [f"tiles of {tmp_path}/a.json was written since"]]


def test_differences_are_named_file_by_file():
    def print_(**sizes):
        return ["a", *({"path": p, "bytes": n, "time_ns": 1} for p, n in sizes.items())]

    assert differences(print_(x=1, y=2, z=3), print_(x=1, y=5, w=1)) == [
        "w is new",
        "y has 5 bytes, it had 2",
        "z is gone",
    ]
    assert differences(print_(x=1), print_(x=1)) == []


def test_what_links_and_external_storage_lead_to_counts(tmp_path, monkeypatch):
    """A soft link in the file, an external link to another file, and a raw file that HDF5 looks for from here."""
    voxels = np.zeros((2, 3, 4), np.uint8)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    voxels.tofile(tmp_path / "a.raw")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["raw"] = voxels
    with h5py.File(tmp_path / "sub" / "a.h5", "w") as file:
        layout = h5py.VirtualLayout(voxels.shape, "u1")
        layout[:] = h5py.VirtualSource("../part.h5", "raw", voxels.shape)
        file.create_virtual_dataset("virtual", layout)
        file["soft"] = h5py.SoftLink("/virtual")
        file["linked"] = h5py.ExternalLink("../part.h5", "/raw")
        file.create_dataset("stored", voxels.shape, "u1", external=[("a.raw", 0, voxels.nbytes)])
    for dataset, source in (("soft", "part.h5"), ("linked", "part.h5"), ("stored", "a.raw")):
        before = fingerprint(f"sub/a.h5:{dataset}")
        os.utime(tmp_path / source, (1, 1 + len(dataset)))
        assert any(
            source in said for said in differences(before, fingerprint(f"sub/a.h5:{dataset}"))
        )


def test_the_voxels_beside_a_header_of_nrrd(tmp_path: Path) -> None:
    (tmp_path / "a.nhdr").write_text("NRRD0004\ntype: uint8\ndata file: a.raw\n")
    (tmp_path / "a.raw").write_bytes(bytes(8))
    before = fingerprint(f"{tmp_path}/a.nhdr")
    (tmp_path / "a.raw").write_bytes(bytes(9))
    assert differences(before, fingerprint(f"{tmp_path}/a.nhdr")) == [
        f"{tmp_path}/a.raw has 9 bytes, it had 8"
    ]
