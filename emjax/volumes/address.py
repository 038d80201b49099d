"""The one string that names a volume: `PATH[:DATASET][BOX][?key=value&...]`.

crop.zarr[0:64,256:768,:]    fib25.h5:raw[0:160]    gs://bucket/em.zarr?level=1    synthetic://neurites?seed=3

Characters of a name that mean something here are written by codes (`emjax.escapes`).
"""

from __future__ import annotations

import dataclasses
import glob
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from emjax.errors import InputError
from emjax.escapes import SHOWN, escape, unescape, unescape_path
from emjax.geometry.sizes import Triple

# Keys that every format accepts after the question mark.
KEYS = (
    *("voxel_nm", "level", "channel", "missing"),
    *("weight", "group", "kind", "background", "ignore", "offset", "t", "outside", "nearest_nm"),
)
# Keys that the embedded generator accepts as well.
SYNTHETIC_KEYS = ("shape", "seed", "labels", "defects")
SYNTHETIC = "synthetic://"
# Schemes with which neuroglancer and file managers write places; here these are plain paths and URLs.
_PREFIX = re.compile(r"^(?:file://(?=/)|(?:precomputed|zarr[23]?|n5)://(?=[a-z0-9]+://))")
_SCHEME = re.compile(r"^[a-z][a-z0-9+]*://")
# NAME=ADDRESS; a path such as x=1.zarr is written ./x=1.zarr.
_NAMED = re.compile(r"^([A-Za-z_]\w*)\s*=\s*(.*)$", re.DOTALL)
# Name of the volume that says where labels are known.
MASK = "mask"
_BOX = re.compile(r"\[([^\[\]]*)\]$")
# A '?' that no '=' follows is part of a pattern such as z0?.png, if the rest ends as a file name does.
_PATTERN_END = re.compile(r"^[^=&]*\.[A-Za-z]+$")
# A pattern of files that each hold a volume.
_PATTERN = re.compile(r"[*?]")
_VOLUME_SUFFIXES = (
    ".h5",
    ".hdf5",
    ".hdf",
    ".zarr",
    ".n5",
    ".mrc",
    ".nrrd",
    ".nii",
    ".nii.gz",
    ".npy",
)


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a volume is, and what its file does not say.

    Attributes:
        path: a file, a folder, a pattern (`folder/*.png`) or a URL.
        dataset: path inside the file; '' where there is none.
        box: the part of the volume, as text in numpy's form without brackets; '' for the whole volume.
        keys: key -> value, as text.
    """

    path: str
    dataset: str = ""
    box: str = ""
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes the keys immutable, so that an address can be shared."""
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    def __reduce__(self) -> tuple:
        """Pickles the keys as a dict."""
        return (Address, (self.path, self.dataset, self.box, dict(self.keys)))

    def __hash__(self) -> int:
        """Hashes the text."""
        return hash(str(self))

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address.

        Args:
            text: `PATH[:DATASET][BOX][?key=value&...]`; box and keys may stand in either order.

        Raises:
            InputError: if the address is empty, a key is unknown or malformed (the message lists the known keys), or a
                code in the path may as well be part of a file's name.
        """
        rest = _PREFIX.sub("", _PREFIX.sub("", text.strip()))
        before, question, query = rest.rpartition("?")
        if question and not _PATTERN_END.match(_BOX.sub("", query)):
            rest = before
        else:
            question = ""
        keys: dict[str, str] = {}
        box = ""
        if question:
            trailing = _BOX.search(query)
            if trailing:
                box, query = trailing[1], query[: trailing.start()]
            keys = _parse_keys(text, query)
        match = _BOX.search(rest)
        if match:
            box, rest = match[1], rest[: match.start()]
        scheme = _SCHEME.match(rest)
        head = scheme[0] if scheme else ""
        path, colon, dataset = rest[len(head) :].rpartition(":")
        # The port of a URL is no dataset.
        if not colon or (head and "/" not in path):
            path, dataset = rest[len(head) :], ""
        if not path:
            raise InputError(f"'{text}' names no volume; write PATH[:DATASET][BOX][?key=value]")
        if not head:
            path, dataset = unescape_path(path), unescape(dataset)
        address = cls(head + path, dataset.strip("/"), box, keys)
        known = KEYS + (SYNTHETIC_KEYS if head == SYNTHETIC else ())
        unknown = [key for key in keys if key not in known]
        if unknown:
            raise InputError(
                f"'{text}': unknown key '{unknown[0]}'; known: {', '.join(known)}; in names {SHOWN}"
            )
        return address

    def with_box(self, box: str) -> Address:
        """Returns the address with another box."""
        return dataclasses.replace(self, box=box)

    def absolute(self) -> Address:
        """Returns the address with absolute local paths, for a process that has another working folder."""
        if _SCHEME.match(self.path):
            return self
        return dataclasses.replace(self, path=os.path.abspath(local_path(self.path)))

    def ids(self, key: str) -> tuple[int, ...]:
        """Returns the ids that a key of a label volume's address lists, as in `ignore=249,0`; empty without that key.

        Args:
            key: 'background' or 'ignore'.

        Raises:
            InputError: if one is no whole number.
        """
        text = self.keys.get(key, "")
        try:
            return tuple(int(part) for part in text.split(",") if text)
        except ValueError as error:
            raise InputError(
                f"{self}: {key}={text} must be ids separated by commas, as in {key}=249,0"
            ) from error

    def whole_number(self, key: str, meaning: str) -> int:
        """Returns the number that a key such as `level=1` gives; 0 without that key.

        Args:
            key: name of the key.
            meaning: what 0 means, for the error message.

        Raises:
            InputError: if the value is no whole number.
        """
        text = self.keys.get(key, "0")
        if not text.isdecimal():
            raise InputError(f"{self}: {key}={text} is not a whole number, {meaning}")
        return int(text)

    @property
    def source(self) -> str:
        """A name of the voxels: two addresses of one source differ only in box, or in keys that do not change voxels.

        Local paths are made absolute, so that an exclusion matches however its path is written.
        """
        synthetic = self.path.startswith(SYNTHETIC)
        keys = (
            ("shape", "seed", "defects", "voxel_nm")
            if synthetic
            else ("level", "channel", "t", "nearest_nm")
        )
        chosen = "&".join(f"{key}={self.keys[key]}" for key in keys if key in self.keys)
        dataset = f":{self.dataset}" if self.dataset else ""
        path = self.path
        if not _SCHEME.match(path):
            path = os.path.abspath(os.path.expanduser(path))
        return path + dataset + (f"?{chosen}" if chosen else "")

    def __str__(self) -> str:
        """Writes the address as `parse` reads it."""
        path, dataset = self.path, self.dataset
        if not _SCHEME.match(path):
            pattern = "?" in path and _PATTERN_END.match(path.rpartition("?")[2])
            path = escape(path) if pattern else escape(path, ":;|[]=?\n")
            dataset = escape(dataset, ":;|[]?\n")
        text = path + (f":{dataset}" if dataset else "")
        text += f"[{self.box}]" if self.box else ""
        if self.keys:
            text += "?" + "&".join(f"{key}={value}" for key, value in self.keys.items())
        return text


@dataclasses.dataclass(frozen=True)
class Entry:
    """One item of a list of volumes: an image, and its labels if it has any.

    Attributes:
        image: of the entry.
        labels: those without a name.
        named: (name, address) of labels of several kinds, as in `image|neurons=a|mito=b`.
        mask: of what is labelled: where it is 0, nothing is known.
    """

    image: Address
    labels: Address | None = None
    named: tuple[tuple[str, Address], ...] = ()
    mask: Address | None = None

    def __str__(self) -> str:
        """Writes the entry as `parse_volumes` reads it."""
        parts = [str(self.image), *([str(self.labels)] if self.labels else [])]
        parts += [f"{name}={address}" for name, address in self.named]
        return "|".join(parts + ([f"{MASK}={self.mask}"] if self.mask else []))

    @property
    def all_labels(self) -> dict[str, Address]:
        """Name -> address of all labels; those without a name have ''."""
        return {**({"": self.labels} if self.labels else {}), **dict(self.named)}


def parse_offset(text: str) -> tuple[float, float, float]:
    """Reads the value of the key `offset`, such as `100,0,-20`.

    Args:
        text: three numbers, z, y, x voxels.

    Raises:
        InputError: if it is not three numbers.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(math.isfinite(value) for value in values):
        raise InputError(f"offset={text}: needs three numbers, z,y,x voxels, as in offset=100,0,0")
    return values


def parse_volumes(text: str | Sequence[str]) -> tuple[Entry, ...]:
    """Reads a list of volumes.

    Args:
        text: entries separated by ';' or line breaks, image and labels of an entry by '|'; or a sequence of entries.
            Labels of several kinds have names, NAME=ADDRESS; `mask=ADDRESS` says where anything is known.
            A pattern such as `folder/*.h5:raw` is an entry for each file; its labels may be other data sets of them.

    Returns:
        The entries; empty for empty text.

    Raises:
        InputError: if an entry is malformed.
    """
    texts = [text] if isinstance(text, str) else text
    parts = [part for one in texts for part in re.split(r"[;\n]", one)]
    entries = []
    for part in parts:
        if not part.strip():
            continue
        entries += _expand(_parse_entry(part.strip()))
    return tuple(entries)


def _parse_entry(text: str) -> Entry:
    image, *others = text.split("|")
    given: dict[str, Address] = {}
    for other in others:
        match = _NAMED.match(other.strip())
        name, address = match.groups() if match else ("", other)
        if name in given:
            said = f"'{name}' twice" if name else f"{len(others)} '|'"
            raise InputError(
                f"'{text}' has {said}; write image|labels, or labels of several kinds as image|neurons=A|mito=B, and "
                f"{MASK}=C for where they are known; in names {SHOWN}"
            )
        given[name] = Address.parse(address)
    labels, mask = given.pop("", None), given.pop(MASK, None)
    if mask is not None and labels is None and not given:
        raise InputError(f"'{text}' has a mask and no labels; write image|labels|{MASK}=...")
    return Entry(Address.parse(image), labels, tuple(given.items()), mask)


def _expand(entry: Entry) -> list[Entry]:
    """Returns an entry for each file that a pattern of files of volumes stands for, in the order of their names.

    A pattern of images (`folder/*.png`) is one volume, and stays.

    Raises:
        InputError: if no file matches, or labels are not in the files of the images: which belong together is not
            known then.
    """
    path = entry.image.path
    if not (_PATTERN.search(path) and path.lower().endswith(_VOLUME_SUFFIXES)):
        return [entry]
    if os.path.lexists(local_path(path)):
        # The name of one file, whatever is in it.
        return [entry]
    files = sorted(glob.glob(str(local_path(path))))
    if not files:
        raise InputError(f"'{entry.image}': no file matches {path}")
    others = [*entry.all_labels.values(), *([entry.mask] if entry.mask else [])]
    if any(other.path != path for other in others):
        raise InputError(
            f"'{entry}': which labels belong to which image is not known; write image|labels for each of the "
            f"{len(files)} files, separated by ';'"
        )
    return [
        Entry(
            dataclasses.replace(entry.image, path=file),
            entry.labels and dataclasses.replace(entry.labels, path=file),
            tuple((name, dataclasses.replace(other, path=file)) for name, other in entry.named),
            entry.mask and dataclasses.replace(entry.mask, path=file),
        )
        for file in files
    ]


def local_path(text: str | os.PathLike[str]) -> Path:
    """Returns a path on this machine, with `~` and `~name` replaced by the home folders that they stand for.

    Raises:
        InputError: if this machine has no home folder for that name.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{os.fspath(text)}: {error}; write the whole path") from error


def parse_triple(text: str, what: str) -> Triple:
    """Reads three numbers, such as `50,4,4`.

    Args:
        text: three positive numbers, z, y, x.
        what: name of the value, for the error message.

    Raises:
        InputError: if it is not three positive numbers.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or any(not (value > 0 and math.isfinite(value)) for value in values):
        raise InputError(f"{what}={text}: needs three positive numbers, z,y,x, as in {what}=50,4,4")
    return values


def _parse_keys(text: str, query: str) -> dict[str, str]:
    keys = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if not equals or not key or not value:
            raise InputError(f"'{text}': '{part}' is not key=value; in names {SHOWN}")
        keys[key.strip()] = value.strip()
    return keys
