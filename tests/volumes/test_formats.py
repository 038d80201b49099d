"""The table of formats: what docs/volumes.md says of each is what the table says; nothing is imported too early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.format import Format, Request
from emjax.volumes.formats import FORMATS, find_format, parse_output

PAGE = Path(__file__).resolve().parents[2] / "docs" / "volumes.md"
# What becomes of absent parts unless an address says.
_DEFAULTS = {"fill": "its fill value, mostly 0", "error": "refused"}


def _tables() -> dict[str, list[str]]:
    """Returns the rows of the tables of docs/volumes.md that the table of formats decides."""
    formats = list(FORMATS.values())
    absent: dict[str, str] = {f.absent: f.missing for f in formats if f.missing}
    return {
        "| Volume | Example | A crop reads |\n|---|---|---|": [
            f"| {f.title} | {', '.join(f'`{e}`' for e in f.examples)} | {f.reads} |"
            for f in formats
        ],
        "| Format | Voxel size is read from |\n|---|---|": [
            f"| {f.title} | {f.voxel_nm} |" for f in formats
        ],
        "| Format | Place is read from |\n|---|---|": [
            f"| {f.title} | {f.place or 'nothing: the first voxel is 0'} |" for f in formats
        ],
        "| What is absent | Unless told otherwise | `missing=error` | `missing=fill` |\n|---|---|---|---|": [
            f"| {what} | {_DEFAULTS[default]} | refused, with its name | "
            f"{'its fill value' if default == 'fill' else '0, with one warning that says how many and which'} |"
            for what, default in absent.items()
        ],
    }


def test_docs_say_what_the_table_says() -> None:
    page = PAGE.read_text()
    for head, rows in _tables().items():
        assert "\n".join([head, *rows]) + "\n\n" in page, "\n".join([head, *rows])


def test_every_format_says_all_that_docs_and_messages_need() -> None:
    for name, form in FORMATS.items():
        assert isinstance(form, Format) and form.title and form.given and form.examples, name
        assert form.reads and form.voxel_nm and bool(form.absent) == bool(form.missing), name
        assert bool(form.place) == (form.where is not None), name
        assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in form.suffixes), name


def test_only_what_is_asked_for_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom emjax.volumes.store import open_volume\n"
        "from emjax.volumes.create import create_volume\n"
        "create_volume('a.zarr', (4, 4, 4), 'uint8', (1, 1, 1), {})[...] = 1\n"
        "assert open_volume('a.zarr').size == (4, 4, 4)\n"
        "late = {'h5py', 'tifffile', 'imagecodecs', 'numba', 'scipy'} & set(sys.modules)\n"
        "assert not late - {'imagecodecs'}, late"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.h5", "hdf5"),
        ("a.HDF", "hdf5"),
        ("a.tif", "tiff"),
        ("*.png", "sections"),
        ("a.json", "tiles"),
        ("synthetic://neurites?seed=1", "synthetic"),
    ],
)
def test_names_are_told_apart(tmp_path: Path, path: str, name: str) -> None:
    if "://" not in path:
        (tmp_path / path).write_text("") if "*" not in path else None
        path = f"{tmp_path}/{path}"
    assert find_format(Request(Address.parse(path))) is FORMATS[name]


def test_homes_that_nobody_has(tmp_path: Path) -> None:
    for text in ("~nosuchuser/em.zarr", "~nosuchuser/*.png"):
        with pytest.raises(InputError, match="~nosuchuser/.*; write the whole path"):
            find_format(Request(Address.parse(text)))
    with pytest.raises(InputError, match="~nosuchuser/"):
        parse_output("~nosuchuser/a.zarr").exists()
