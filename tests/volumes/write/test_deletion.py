"""Only what emjax wrote is deleted: everything else is named, and stays."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from emjax.blocks.output import check_apart
from emjax.errors import InputError
from emjax.volumes.create import create_volume, delete_volume, is_half_made
from emjax.volumes.write.hdf5 import Hdf5Output
from emjax.volumes.write.precomputed import PrecomputedOutput


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.zarr"
    create_volume(path, (8, 8, 8), "uint8", None, {}).write(1).result()
    return path


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


@pytest.mark.parametrize(
    "name", ["notes.txt", "raw/zarr.json", "0/c/0/0/notes", "0/c/x", ".zattrs"]
)
def test_a_stranger_in_the_folder_is_named_and_all_stays(path: Path, name: str) -> None:
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("hand made")
    before = _files(path)
    with pytest.raises(InputError, match=f"did not write there and will not delete: {name};"):
        delete_volume(path)
    assert _files(path) == before


def test_links_are_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "0").write_text("")
    (path / "0" / "c" / "1").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="the link 0/c/1"):
        delete_volume(path)
    (path / "0" / "c" / "1").unlink()
    # By a link to the output, what it leads to is emptied.
    (tmp_path / "link.zarr").symlink_to(path)
    delete_volume(tmp_path / "link.zarr")
    assert (tmp_path / "link.zarr").is_symlink() and _files(path) == []
    assert (tmp_path / "precious" / "0").exists()


def test_a_group_of_others_stays(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("0", shape=(4, 4, 4), dtype="u1", chunks=(4, 4, 4))[:] = 1
    before = _files(tmp_path)
    with pytest.raises(InputError, match="not written by emjax"):
        delete_volume(tmp_path / "s.zarr")
    # Nor where it is an array that lacks its group.
    (tmp_path / "s.zarr" / "zarr.json").unlink()
    with pytest.raises(InputError, match="not written by emjax"):
        delete_volume(tmp_path / "s.zarr")
    assert [name for name in before if name != "s.zarr/zarr.json"] == _files(tmp_path)


def test_metadata_go_last_and_half_of_it_is_deleted_again(path: Path, monkeypatch) -> None:
    gone, real = [], Path.unlink

    def unlink(file: Path, missing_ok: bool = False) -> None:
        gone.append(file.relative_to(path).as_posix())
        if len(gone) == 3:
            raise KeyboardInterrupt
        real(file, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            delete_volume(path)
    assert gone == ["0/c/0/0/0", "0/zarr.json", "zarr.json"]
    assert is_half_made(path)
    delete_volume(path)
    assert _files(path) == []
    create_volume(path, (8, 8, 8), "uint8", None, {})
    assert not is_half_made(path)


def test_what_a_killed_writer_left_is_no_stranger(path: Path, tmp_path: Path) -> None:
    (path / "0" / "c" / "0" / "0" / "0.__lock").write_text("")
    delete_volume(path)
    assert _files(path) == []
    (tmp_path / "b.zarr" / "0").mkdir(parents=True)
    (tmp_path / "b.zarr" / "0" / "zarr.json.__lock").write_text("")
    create_volume(tmp_path / "b.zarr", (8, 8, 8), "uint8", None, {})


@pytest.mark.parametrize(
    "key", ["%2e%2e/precious", "..%2fprecious", "..\\precious", "../precious", "", ".", "8_8_8/.."]
)
def test_no_scale_leads_out_of_a_precomputed_volume(tmp_path: Path, key: str) -> None:
    folder = tmp_path / "em.precomputed"
    for name in ("precious", "em.precomputed", "em.precomputed/8_8_8"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    scale = {"key": key, "size": [8, 8, 8], "resolution": [8, 8, 8]}
    (folder / "info").write_text(json.dumps({"emjax": {}, "scales": [scale]}))
    before = _files(tmp_path)
    for act in (lambda o: o.check_free(overwrite=True), lambda o: o.delete()):
        with pytest.raises(InputError, match="has a scale '.*emjax did not write"):
            act(PrecomputedOutput(str(folder)))
    # A key of the right form, but another's files.
    (folder / "info").write_text(json.dumps({"emjax": {}, "scales": [scale | {"key": "8_8_8"}]}))
    with pytest.raises(InputError, match="8_8_8/file"):
        PrecomputedOutput(str(folder)).delete()
    assert _files(tmp_path) == before


def test_what_else_an_hdf5_file_holds_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def refused(helps: str) -> None:
        with pytest.raises(InputError, match=helps):
            Hdf5Output(str(path)).check_free(overwrite=True)

    with h5py.File(path, "w") as file:
        file["main"] = np.zeros(3)
    refused("a dataset main that emjax did not write")
    with h5py.File(path, "a") as file:
        file["main"].attrs["emjax"] = "{}"
    Hdf5Output(str(path)).check_free(overwrite=True)
    for name, link in (("soft", h5py.SoftLink("/main")), ("far", h5py.ExternalLink("b.h5", "/x"))):
        with h5py.File(path, "a") as file:
            file[name] = link
        refused(name)
        with h5py.File(path, "a") as file:
            del file[name]
    with h5py.File(path, "a") as file:
        file.attrs["notes"] = "hand made"
    refused("attributes")


def test_an_hdf5_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "a.h5").symlink_to(tmp_path / "far" / "b.h5")
    output = Hdf5Output(str(tmp_path / "a.h5"))
    assert output.partial == tmp_path / "far" / "b.h5.partial"


def test_an_output_and_its_inputs_are_apart_by_all_names(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.zarr").symlink_to(path)
    (tmp_path / "a.h5").write_text("")
    (tmp_path / "hard.h5").hardlink_to(tmp_path / "a.h5")
    for output, input_ in (
        ("link.zarr", "a.zarr:0[0:4]"),
        ("a.zarr", "link.zarr/0"),
        ("link.zarr/b", "a.zarr"),
        ("hard.h5", "a.h5:main"),
    ):
        with pytest.raises(InputError, match="in one place"):
            check_apart(str(tmp_path / output), {"input": f"{tmp_path}/{input_}"})
    check_apart(str(tmp_path / "b.zarr"), {"input": str(path), "image": ""})


def test_by_url_the_rule_is_the_same(path: Path) -> None:
    (path / "notes.txt").write_text("hand made")
    with pytest.raises(InputError, match="notes.txt"):
        delete_volume(f"file://{path}")
    (path / "notes.txt").unlink()
    delete_volume(f"file://{path}")
    assert _files(path) == []
