"""The attribute `emjax` that emjax stores with each volume it writes: of a zarr group, or of a precomputed `info`."""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import Any

import tensorstore as ts

from emjax.errors import InputError, shortened
from emjax.volumes.address import SYNTHETIC, Address, local_path

# Name of the attribute in a zarr group.
ATTRIBUTE = "emjax"
# The file with that attribute beside the sections that emjax wrote to a folder.
SECTIONS_FILE = "sections.json"
# Seconds to wait for a server; TensorStore itself would retry without an end.
PATIENCE = 60.0
# What TensorStore writes behind the URL of a zip file to name what is in it.
_ZIP = "|zip:"


def read_attributes(address: str | Address) -> dict[str, Any]:
    """Reads the attribute `emjax` of a volume.

    A prediction has `targets` (name of each channel), `offsets` (z, y, x of each channel, or None), `scale` (a stored
    number times `scale` is in [0, 1]) and `checkpoint`. Every volume that is made block by block has `complete`
    (`emjax.blocks.complete`).

    Args:
        address: of a volume; its box and keys make no difference.

    Returns:
        The attribute; empty where there is none, as in every volume that another program wrote.

    Raises:
        InputError: if the place cannot be read.
    """
    address = Address.parse(address) if isinstance(address, str) else address
    if address.path.startswith(SYNTHETIC):
        return {}
    url = folder_url(address.path)
    # An array inside the group (`out.zarr:0`) has the attributes of the group.
    inner = dataset_url(address)
    folders = list(dict.fromkeys((inner, url)))
    for folder in folders:
        text = read_file(folder, "zarr.json")
        metadata = json.loads(text) if text else {}
        if ATTRIBUTE in metadata.get("attributes", {}):
            return metadata["attributes"][ATTRIBUTE]
        # Also where the array's own folder is named (`out.zarr/0`).
        above = parent_url(folder)[0]
        if metadata.get("node_type") == "array" and above and above not in folders:
            folders.append(above)
    return _of_info(read_file(url, "info")) or read_sections_file(address.path).get(ATTRIBUTE, {})


def read_sections_file(path: str) -> dict[str, Any]:
    """Returns what emjax wrote beside sections: `shape`, `voxel_nm`, `origin` and the attribute `emjax`.

    Args:
        path: of a folder of sections, or a pattern such as `folder/*.png`.

    Returns:
        Nothing where another program wrote the sections.
    """
    if "://" in path:
        return {}
    place = local_path(path)
    folder = place if place.is_dir() else place.parent
    if folder != place and "*" not in place.name:
        return {}
    try:
        found = json.loads((folder / SECTIONS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and ATTRIBUTE in found else {}


def _of_info(text: bytes | None) -> dict[str, Any]:
    """Returns the attribute `emjax` of a Neuroglancer `info`; empty if the text is no such `info`."""
    try:
        info = json.loads(text) if text else {}
    except ValueError:
        return {}
    found = info.get(ATTRIBUTE, {}) if isinstance(info, dict) else {}
    return found if isinstance(found, dict) else {}


def folder_url(path: str | os.PathLike[str]) -> str:
    """Returns TensorStore's URL of a folder, with a slash at its end; of a zip file as a folder."""
    text = os.fspath(path)
    if "://" in text:
        return text.rstrip("/") + "/"
    url = local_path(text).absolute().as_uri().rstrip("/")
    return url + (_ZIP if url.lower().endswith(".zip") else "/")


def dataset_url(address: Address) -> str:
    """Returns TensorStore's URL of the folder of an address, its dataset included, with a slash at its end."""
    url = folder_url(address.path)
    if not address.dataset:
        return url
    # A URL that the user wrote has percent codes of its own.
    remote = "://" in address.path
    return f"{url}{address.dataset if remote else urllib.parse.quote(address.dataset)}/"


def parent_url(url: str) -> tuple[str, str]:
    """Splits the URL of a folder into that of the folder above, and its own name without percent codes.

    Args:
        url: with a slash at its end, as `folder_url` returns it.

    Returns:
        Both are '' where no folder is above: at the root of a zip file, a disk, a server or a bucket.
    """
    outside, zipped, inside = url.rstrip("/").rpartition(_ZIP)
    above, _, name = inside.rpartition("/")
    if not name if zipped else "://" not in above:
        return "", ""
    folder = f"{above}/" if above else ""
    return f"{outside}{zipped}{folder}", urllib.parse.unquote(name)


def on_disk(url: str) -> bool:
    """Whether a URL is that of a folder on this machine, which can be looked through as one."""
    return url.startswith("file://") and _ZIP not in url


def read_file(url: str, name: str) -> bytes | None:
    """Reads a file of a folder; returns None if the file does not exist.

    Args:
        url: of the folder, with a slash at its end.
        name: of the file.

    Raises:
        InputError: if the place cannot be read.
    """
    try:
        folder = ts.KvStore.open(url).result(timeout=PATIENCE)
        answer = folder.read(name).result(timeout=PATIENCE)
    except TimeoutError as error:
        raise InputError(f"{url} did not answer in {PATIENCE:.0f} s") from error
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"cannot read {url}: {first_sentence(error)}") from error
    return bytes(answer.value) if answer.state == "value" else None


def first_sentence(error: Exception) -> str:
    """Returns the useful part of a TensorStore message, to which TensorStore appends the whole spec; shortened."""
    text = (str(error).splitlines() or [""])[0].split(" [")[0]
    return shortened(text or type(error).__name__)
