"""Keeps a volume's metadata from naming files elsewhere: only what lies in its own folder is read.

A volume may come from a stranger. Its metadata could name any file that the user can read, whose content would then be
in a result that is shared.
"""

from __future__ import annotations

import math
import os
import re
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from emjax.errors import InputError
from emjax.volumes.address import Address

if TYPE_CHECKING:
    import h5py

# How deep virtual datasets of virtual datasets are followed.
_DEPTH = 8
_MOST_SOURCES = 20_000


def allows_outside(address: Address) -> bool:
    """Whether an address allows files outside of the volume's folder, by `outside=allow`.

    Raises:
        InputError: if the key has another value.
    """
    value = address.keys.get("outside")
    if value not in (None, "allow"):
        raise InputError(f"{address}: outside={value} must be allow, or left out")
    return value == "allow"


def inside(address: Address, key: str) -> str:
    """Returns the relative path that a volume's metadata give, without slashes around it.

    Args:
        address: of the volume.
        key: path relative to its folder.

    Raises:
        InputError: if it may lead out of the folder, also by percent signs or backslashes.
    """
    text = key
    # Percent signs may hide percent signs.
    while (plain := urllib.parse.unquote(text)) != text:
        text = plain
    leaves = ".." in re.split(r"[/\\]", text) or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text)
    if leaves and not allows_outside(address):
        raise InputError(
            f"{address}: its metadata name '{key}', outside of its folder; if you trust it, add ?outside=allow"
        )
    return key.strip("/")


def refuse_outside(address: Address, path: Path, data: h5py.Dataset) -> None:
    """Refuses a dataset whose voxels lie outside of the folder of its file.

    Args:
        address: of the volume.
        path: of the file.
        data: the dataset, maybe in another file, by an external link.

    Raises:
        InputError: naming the first such file.
    """
    if allows_outside(address):
        return
    root = Path(os.path.realpath(path.parent))
    for file in _files(Path(data.file.filename), data, _DEPTH):
        # Links of the file system are the user's own.
        near = Path(os.path.abspath(file)).is_relative_to(os.path.abspath(path.parent))
        if not near and not Path(os.path.realpath(file)).is_relative_to(root):
            raise InputError(
                f"{address}: its voxels are in {file}, outside of its folder; if you trust it, add ?outside=allow"
            )


def most_bytes(shape: tuple[int, ...], itemsize: int) -> int:
    """Returns the most bytes that an encoding of a chunk may have: twice its voxels, and room for headers."""
    return 2 * math.prod(shape) * itemsize + (1 << 20)


def _files(path: Path, data: h5py.Dataset, depth: int) -> list[Path]:
    """Returns the files that hold the voxels of a dataset: its own, external storage, sources of a virtual one."""
    # Only HDF5 needs it.
    import h5py

    found = [path]
    # HDF5 looks for external files from the working folder.
    found += [Path(os.fsdecode(name)) for name, _, _ in data.external or ()]
    if not data.is_virtual or not depth:
        return found
    sources = {(s.file_name, s.dset_name) for s in data.virtual_sources()[:_MOST_SOURCES]}
    for name, dataset in sorted(sources):
        if name == ".":
            source = data.file.get(dataset)
            if isinstance(source, h5py.Dataset):
                found += _files(path, source, depth - 1)
            continue
        # HDF5 looks beside the file, then from the working folder.
        places = [path.parent / name, Path(name)]
        place = next((p for p in places if p.is_file()), places[0])
        found.append(place)
        if place.is_file():
            try:
                with h5py.File(place, "r") as file:
                    source = file.get(dataset)
                    if isinstance(source, h5py.Dataset):
                        found += _files(place, source, depth - 1)
            except OSError:
                # What cannot be read is reported by those who read it.
                continue
    return found
