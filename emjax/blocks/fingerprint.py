"""What tells a volume from another one that was put in its place, as far as the times and sizes of its files say.

Nothing of the voxels is read, so that terabytes take no longer than a listing. What is looked at:

- a file: its time and size; of HDF5 also those of the files that its datasets take their voxels from;
- a folder of an array: its metadata files, and the times of its folders and of some of its chunks. Writers put a chunk
  in place under another name first, which changes the time of its folder;
- sections and tiles: names, sizes and times of all of them.

Of a remote volume the address alone is known. A copy of an input that keeps its times (`cp -p`, `rsync -t`) is the same
volume, one that does not is another.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import h5py

from emjax.volumes.address import Address
from emjax.volumes.read.folder_metadata import METADATA_FILES
from emjax.volumes.read.hdf5 import LOCK
from emjax.volumes.read.image_files import IMAGE_SUFFIXES

Fingerprint = list[dict[str, Any] | str]

# Folders below an array that are looked at, and files in all of them together. Of a folder with more files its own time
# has to do: which of them a file system lists first says nothing.
_MOST_FOLDERS, _MOST_FILES = 500, 1000
# Files that an HDF5 file or a JSON of tiles refers to by name.
_MOST_SOURCES = 1000


def fingerprint(address: str | Address) -> Fingerprint:
    """Returns what changes when a volume is replaced by another one of the same name, as far as files tell.

    Args:
        address: of the volume; of a remote one the address alone is known.

    Returns:
        The address, then what is known of each file or folder: its `path`, and numbers. Plain values, as JSON holds
        them.
    """
    known = Address.parse(address) if isinstance(address, str) else address
    known = known.absolute()
    found: Fingerprint = [str(known)]
    if "://" in known.path:
        return found
    path = known.path
    if os.path.isdir(path):
        metadata = [
            os.path.join(folder, name) for folder in _folders(known) for name in METADATA_FILES
        ]
        found += _files(metadata)
        return found + _sample(_folders(known)[-1], array=len(found) > 1)
    found += _files([path])
    if len(found) == 1:
        return found + _all_of(glob.glob(path), path)
    return found + list(_sources(known))


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Says what differs between two fingerprints of one address, a few words for each file.

    Args:
        before: as it was.
        now: as it is.
    """
    old, new = ({e["path"]: e for e in print_ if isinstance(e, dict)} for print_ in (before, now))
    said = []
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            said.append(f"{path} is gone")
        elif path not in old:
            said.append(f"{path} is new")
        elif old[path].get("bytes") != new[path].get("bytes"):
            said.append(
                f"{path} has {new[path].get('bytes')} bytes, it had {old[path].get('bytes')}"
            )
        elif old[path] != new[path]:
            said.append(f"{path} was written since")
    return said


def _folders(address: Address) -> list[str]:
    inner = [os.path.join(address.path, address.dataset)] if address.dataset else []
    return [address.path, *inner]


def _files(paths: Iterable[str]) -> Fingerprint:
    """Returns time and size of each file that is there."""
    found: Fingerprint = []
    for path in paths:
        if os.path.isfile(path):
            status = os.stat(path)
            found.append({"path": path, "time_ns": status.st_mtime_ns, "bytes": status.st_size})
    return found


def _all_of(paths: Iterable[str], what: str) -> Fingerprint:
    """Returns one entry for many files: a hash of their names, sizes and times."""
    files = _files(sorted(paths))
    return [_digest(what, files)] if files else []


def _digest(path: str, values: list[Any]) -> dict[str, Any]:
    text = json.dumps(values).encode()
    return {"path": path, "digest": hashlib.sha256(text).hexdigest()[:16]}


def _sample(folder: str, array: bool) -> Fingerprint:
    """Looks at what lies below a folder: at all files of one that is no array, at some chunks of an array."""
    if not array:
        return _all_of(
            (e.path for e in os.scandir(folder) if e.name.lower().endswith(IMAGE_SUFFIXES)), folder
        )
    times: list[Any] = []
    chunks: Fingerprint = []
    waiting, looked_at = [folder], 0
    while waiting and looked_at < _MOST_FOLDERS:
        here = waiting.pop(0)
        looked_at += 1
        folders, files = _list(here, _MOST_FILES - len(chunks))
        waiting += folders
        chunks += _files(files)
        # The folder itself is left out: what is put beside the array is no part of it.
        if here != folder:
            times.append([here, os.stat(here).st_mtime_ns])
    return [_digest(folder, [times, chunks])] if chunks else []


def _list(folder: str, most: int) -> tuple[list[str], list[str]]:
    """Returns folders and chunks in a folder, by their names; no chunks where there are too many of them."""
    folders: list[str] = []
    files: list[str] = []
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name in METADATA_FILES:
            continue
        if entry.is_dir():
            folders.append(entry.path)
        elif len(files) <= most:
            files.append(entry.path)
    return sorted(folders), sorted(files) if len(files) <= most else []


def _sources(address: Address) -> Iterator[dict[str, Any] | str]:
    """Yields what is known of the files that a file refers to."""
    if address.path.lower().endswith(".json"):
        yield from _tiles(address.path)
    elif h5py.is_hdf5(address.path):
        folder = os.path.dirname(address.path)
        names = sorted(_hdf5_sources(address))[:_MOST_SOURCES]
        yield from _files(os.path.join(folder, name) for name in names)


def _tiles(path: str) -> Fingerprint:
    try:
        with open(path, encoding="utf-8") as file:
            patterns = json.load(file)["image"]
        folder = os.path.dirname(path)
        images = [
            p.replace("{row}", "*").replace("{column}", "*") for p in patterns[:_MOST_SOURCES]
        ]
        found = [name for image in images for name in glob.glob(os.path.join(folder, image))]
    # Who opens it says what is wrong.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    return _all_of(found, f"tiles of {path}")


def _hdf5_sources(address: Address) -> set[str]:
    """Names the files that a dataset, or any of the file where none is named, takes its voxels from."""
    found: set[str] = set()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and address.dataset in ("", name):
            if item.is_virtual:
                found.update(source.file_name for source in item.virtual_sources())
            for external in item.external or ():
                found.add(os.fsdecode(external[0]))

    try:
        with LOCK, h5py.File(address.path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError):
        return set()
    # '.' is the file itself.
    return found - {"."}
