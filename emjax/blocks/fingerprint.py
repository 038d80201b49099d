"""Fingerprints of volumes: the times and sizes of their files, which change when a volume is replaced by another.

No voxels are read, so that terabytes take no longer than a listing. A fingerprint covers:

- of a file: its time and size; of HDF5, and of a header of NRRD, also those of the files that voxels are taken from;
- of an array in a folder: its metadata files, and the times of its folders and of some of its chunks. Writers write a
  chunk under another name and rename it, which changes the time of its folder;
- of sections and tiles: names, sizes and times of all files.

Of a remote volume it covers the address alone. A copy of an input that keeps the times (`cp -p`, `rsync -t`) counts as
the same volume, a copy that does not as another one.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.read.folder_metadata import METADATA_FILES
from emjax.volumes.read.hdf5 import LOCK
from emjax.volumes.read.hdf5_datasets import find_dataset
from emjax.volumes.read.image_files import IMAGE_SUFFIXES

Fingerprint = list[dict[str, Any] | str]

# Most folders below an array that are looked at, and most files in all of them together. For a folder with more files
# the folder's own time has to do, since the order in which a file system lists files is arbitrary.
_MOST_FOLDERS, _MOST_FILES = 500, 1000
# Most files looked at that an HDF5 file or a JSON of tiles refers to by name.
_MOST_SOURCES = 1000
# The number of a file in the names of the sources of a virtual HDF5 dataset.
_NUMBERED = re.compile(r"%\d*b")


def fingerprint(address: str | Address) -> Fingerprint:
    """Returns the fingerprint of a volume, which changes when another volume takes its place under the same name.

    Args:
        address: address of the volume; for a remote one, the fingerprint is the address alone.

    Returns:
        The address, then for each file or folder a dict with its `path` and its times, sizes or digest; plain values
        that JSON can hold.
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
    """Returns what differs between two fingerprints of one address: a few words for each file.

    Args:
        before: the earlier fingerprint.
        now: the present fingerprint.
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
    """Returns time and size of each file that exists."""
    found: Fingerprint = []
    for path in paths:
        if os.path.isfile(path):
            status = os.stat(path)
            found.append({"path": path, "time_ns": status.st_mtime_ns, "bytes": status.st_size})
    return found


def _all_of(paths: Iterable[str], what: str) -> Fingerprint:
    """Returns one entry for many files: a hash of their names, sizes and times; nothing if none exists."""
    files = _files(sorted(paths))
    return [_digest(what, files)] if files else []


def _digest(path: str, values: list[Any]) -> dict[str, Any]:
    text = json.dumps(values).encode()
    return {"path": path, "digest": hashlib.sha256(text).hexdigest()[:16]}


def _sample(folder: str, array: bool) -> Fingerprint:
    """Returns one entry for what lies below a folder: all images if it is no array, some chunks if it is one."""
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
        # The array's own folder is left out: files that are put beside the array would change its time.
        if here != folder:
            times.append([here, os.stat(here).st_mtime_ns])
    return [_digest(folder, [times, chunks])] if chunks else []


def _list(folder: str, most: int) -> tuple[list[str], list[str]]:
    """Returns the folders and the chunks in a folder, sorted by name; no chunks if there are more than `most`."""
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
    """Yields an entry for each file that a file refers to."""
    if address.path.lower().endswith(".json"):
        yield from _tiles(address.path)
    elif address.path.lower().endswith(".nhdr"):
        with open(address.path, encoding="utf-8", errors="replace") as file:
            named = re.findall(
                r"^data ?file: *(.+?)\s*$", file.read(), re.MULTILINE | re.IGNORECASE
            )
        yield from _files(_beside(address.path, name) for name in named)
    elif h5py.is_hdf5(address.path):
        yield from _files(sorted(_hdf5_sources(address))[:_MOST_SOURCES])


def _tiles(path: str) -> Fingerprint:
    try:
        with open(path, encoding="utf-8") as file:
            patterns = json.load(file)["image"]
        folder = os.path.dirname(path)
        images = [
            p.replace("{row}", "*").replace("{column}", "*") for p in patterns[:_MOST_SOURCES]
        ]
        found = [name for image in images for name in glob.glob(os.path.join(folder, image))]
    # A damaged file is reported by the code that opens it.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    return _all_of(found, f"tiles of {path}")


def _hdf5_sources(address: Address) -> set[str]:
    """Returns the files that the dataset which is read takes its voxels from, besides the file that is named."""
    path = Path(address.path)
    found: set[str] = set()
    try:
        with LOCK, h5py.File(path, "r") as file:
            _, data = find_dataset(path, file, address.dataset)
            # A link may lead to a dataset of another file, whose sources lie beside that.
            own = data.file.filename
            names = (
                {source.file_name for source in data.virtual_sources()} if data.is_virtual else ()
            )
            for name in names:
                # A name with %b stands for all files of a series.
                found.update(glob.glob(_beside(own, _NUMBERED.sub("*", glob.escape(name)))))
            for name, _, _ in data.external or ():
                # HDF5 looks for these from the working folder.
                found.update((os.fsdecode(name), _beside(own, os.fsdecode(name))))
    except (OSError, RuntimeError, InputError):
        # The code that opens it reports a damaged file or a lost dataset.
        return set()
    return (found | {own}) - {address.path}


def _beside(path: str, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)
