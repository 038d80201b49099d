"""The table of formats: finds the format that opens an address, and the one that writes an output."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from emjax.errors import InputError
from emjax.escapes import SHOWN, escape
from emjax.registry import Registry
from emjax.volumes.address import Address
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.read.folder_metadata import shown, volumes_inside

if TYPE_CHECKING:
    from emjax.volumes.write.output import Output

# In the order in which formats are tried: those whose libraries take longer to import come last, and only those tried
# are imported. A name is also a scheme: `synthetic://` selects that format at once.
FORMATS = Registry(
    "format",
    "emjax.formats",
    {
        "zarr": "emjax.volumes.read.zarr:FORMAT",
        "n5": "emjax.volumes.read.n5:FORMAT",
        "precomputed": "emjax.volumes.read.precomputed:FORMAT",
        "webknossos": "emjax.volumes.read.webknossos:FORMAT",
        "hdf5": "emjax.volumes.read.hdf5:FORMAT",
        "tiff": "emjax.volumes.read.tiff:FORMAT",
        "sections": "emjax.volumes.read.sections:FORMAT",
        "mrc": "emjax.volumes.read.mrc:FORMAT",
        "nifti": "emjax.volumes.read.nifti:FORMAT",
        "nrrd": "emjax.volumes.read.nrrd:FORMAT",
        "npy": "emjax.volumes.read.npy:FORMAT",
        "tiles": "emjax.volumes.read.tiles:FORMAT",
        "synthetic": "emjax.volumes.read.synthetic:FORMAT",
    },
)


def find_format(request: Request) -> Format:
    """Returns the format of the requested volume.

    Raises:
        InputError: if nothing exists there, or no known format recognises it.
    """
    path = request.address.path
    scheme, separator, _ = path.partition("://")
    if separator and scheme in FORMATS:
        return FORMATS.find(scheme)
    if not request.remote:
        if not request.path.exists() and not request.is_pattern:
            raise InputError(f"no such path: {path}{_nearest_entry(request.path)}")
        # Libraries report in many ways that a file may not be read; Python itself in one.
        if request.is_folder:
            os.scandir(request.path).close()
        elif not request.is_pattern:
            request.path.open("rb").close()
    for form in FORMATS.values():
        if form.recognises(request):
            return form
    if request.remote or request.is_folder or request.is_zip:
        raise InputError(
            f"{shown(request.base)} holds no zarr, N5 or precomputed array{volumes_inside(request.url)}"
        )
    given = [form.given for form in FORMATS.values()]
    raise InputError(
        f"{path} is no format that is known: give {', '.join(given[:-1])} or {given[-1]}"
    )


def parse_output(text: str) -> Output:
    """Returns the output that a name stands for; its suffix decides the format.

    Args:
        text: `NAME.zarr`, `NAME.precomputed`, `NAME.h5[:DATASET]` and similar; or `FORMAT://ADDRESS`, as in
            `precomputed://gs://bucket/em`.

    Raises:
        InputError: if no format writes under such a name, or the name has a box or keys.
    """
    scheme, separator, rest = text.partition("://")
    told = scheme if separator and scheme in FORMATS and FORMATS.find(scheme).writer else ""
    address = Address.parse(rest if told else text)
    if address.box or address.keys:
        bare = dataclasses.replace(address, box="", keys={})
        raise InputError(
            f"output={text}: an output is a whole volume, with no box or keys behind it; give {bare}"
        )
    path = address.path.rstrip("/")
    writer = FORMATS.find(told).writer if told else _writer(text, path)
    if "://" in path and not writer.remote:
        raise InputError(
            f"output={text}: this format is written to a disk; give a path, or NAME.zarr"
        )
    if address.dataset and not writer.datasets:
        names = " and ".join(f.title for f in FORMATS.values() if f.writer and f.writer.datasets)
        raise InputError(
            f"output={text}: only {names} has datasets inside; leave out ':{address.dataset}'"
        )
    return _make(writer)(path, *([address.dataset] if address.dataset else []))


def check_zarr_name(text: str) -> str:
    """Returns the path of an output that is always OME-Zarr, whose name must not suggest another format.

    A folder of chunks under the name `a.h5` would be taken for HDF5 by people and by other programs.

    Args:
        text: value of the field `output`; a name without a suffix is accepted.

    Raises:
        InputError: if it has the suffix or the scheme of another format (says how to convert to that format), or a
            dataset, box or keys.
    """
    scheme, separator, rest = text.partition("://")
    name = text.rstrip("/").rpartition("/")[2].lower()
    if not separator or scheme not in FORMATS:
        if name.endswith(".zarr"):
            return _whole(text).path
        others = [form for key, form in FORMATS.items() if key != "zarr"]
        suffixes = {
            s for f in others for s in (*f.suffixes, *(f.writer.suffixes if f.writer else ()))
        }
        if not any(name.partition(":")[0].endswith(suffix) for suffix in suffixes):
            return _whole(text).path
    elif scheme == "zarr":
        return _whole(rest).path
    raise InputError(
        f"output={text}: this job writes OME-Zarr; give output=NAME.zarr, and make other formats of it with "
        "--config configs/convert.py"
    )


def _whole(text: str) -> Address:
    """Returns the address of an output that is a folder; refuses one with a dataset, box or keys."""
    address = Address.parse(text)
    if address.dataset or address.box or address.keys:
        raise InputError(
            f"output={text}: an output is a whole volume, with no dataset, box or keys behind it; in names {SHOWN}"
        )
    return address


def _writer(text: str, path: str) -> Writer:
    """Returns the writer for the suffix of a name."""
    name, given = path.rpartition("/")[2].lower(), []
    for form in FORMATS.values():
        if form.writer is None:
            continue
        if any(name.endswith(suffix) for suffix in form.writer.suffixes):
            return form.writer
        given.append(form.writer.given)
    raise InputError(
        f"output={text}: the name must say the format: {', '.join(given[:-1])}, or {given[-1]}"
    )


def _make(writer: Writer) -> Callable[..., Output]:
    module, _, attribute = writer.make.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _nearest_entry(path: Path) -> str:
    """Returns the end of a message about a path that does not exist: a similar name, or what its folder holds."""
    parent = path.parent
    before, comma, _ = str(path).partition(",")
    if comma and before and Path(Address.parse(before).path).exists():
        return "; several volumes are separated by ';', not by ','"
    if not parent.is_dir():
        return f"; nor is there a folder {parent}"
    names = sorted(os.listdir(parent))
    match = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    parts = [name for name in names if re.match(re.escape(path.name) + r"[:;|?*\[\]]", name)]
    if parts:
        return f"; in an address {parts[0]} is written {escape(parts[0], ':;|?*[]')}"
    if match:
        return f"; did you mean {parent / match[0]}?"
    return f"; {parent} holds: {', '.join(names[:8]) or 'nothing'}"
