"""Which files say what a folder is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emjax.errors import InputError
from emjax.volumes.read.folder_metadata import METADATA_FILES, read_metadata, shown, volumes_inside


def test_reads_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text('{"node_type": "group"}')
    # A file of this name may be anything.
    (tmp_path / "info").write_text("a note")
    files = read_metadata(tmp_path.as_uri() + "/")
    assert set(files) == set(METADATA_FILES)
    assert files["zarr.json"] == {"node_type": "group"}
    assert [name for name, content in files.items() if content is not None] == ["zarr.json"]
    (tmp_path / ".zattrs").write_text('{"a')
    with pytest.raises(InputError, match=rf"{tmp_path}/\.zattrs is damaged"):
        read_metadata(tmp_path.as_uri() + "/")


def test_volumes_inside(tmp_path: Path) -> None:
    contents = {
        "b/zarr.json": {"node_type": "array"},
        "a/zarr.json": {"node_type": "group", "attributes": {"ome": {"multiscales": []}}},
        "a/0/zarr.json": {"node_type": "array"},
        "c/attributes.json": {"resolution": [1, 1, 1]},
        "c/raw/attributes.json": {"dimensions": [4, 4, 4]},
        "d/info": {"scales": []},
        "e/.zarray": {"shape": [4]},
        "f/.zattrs": {"author": "me"},
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    assert volumes_inside(tmp_path.as_uri() + "/") == "; inside are: a, b, c/raw, d, e"
    assert volumes_inside("gs://bucket/") == ""


def test_shown_as_written() -> None:
    assert shown("file:///a%20b/c/") == "/a b/c"
    assert shown("s3://b/c/") == "s3://b/c"
