"""Reads the metadata files of a local or remote folder, which show whether it is an array or a group of arrays."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import PATIENCE, first_sentence, on_disk

# File names, in the order in which they are looked for.
METADATA_FILES = ("zarr.json", ".zarray", ".zattrs", ".zgroup", "attributes.json", "info")
# A file of this name may be anything; all others only arrays, groups and datasets have.
_VAGUE = "info"
_MOST_NAMED = 8


def read_metadata(
    base: str, context: ts.Context | None = None, names: Sequence[str] = METADATA_FILES
) -> dict[str, dict[str, Any] | None]:
    """Reads metadata files of a folder, all at once.

    Args:
        base: URL of the folder, with a slash at its end.
        context: TensorStore context that sets how often a server is tried.
        names: of the files.

    Returns:
        File name -> content; None for files that do not exist.

    Raises:
        InputError: if the place cannot be read, or a file is damaged.
    """
    local = base.startswith("file://")
    try:
        folder = ts.KvStore.open(base, context=context).result(timeout=PATIENCE)
        reads = {name: folder.read(name) for name in names}
        found = {name: read.result(timeout=PATIENCE) for name, read in reads.items()}
    except TimeoutError as error:
        raise InputError(
            f"{shown(base)} did not answer in {PATIENCE:.0f} s; check address and network"
        ) from error
    except (ValueError, OSError, RuntimeError) as error:
        hint = "" if local else "; check address and network"
        raise InputError(f"{shown(base)} cannot be read: {first_sentence(error)}{hint}") from error
    contents = {name: _json(answer) for name, answer in found.items()}
    for name in names:
        # Servers answer with an HTML page where there is no file.
        if local and name != _VAGUE and found[name].state == "value" and contents[name] is None:
            raise InputError(f"{shown(base)}/{name} is damaged (no JSON); restore it")
    return contents


def volumes_inside(url: str) -> str:
    """Lists the volumes in a local folder, for a message; not for buckets, which may hold millions of keys.

    Args:
        url: of the folder.
    """
    if not on_disk(url):
        return ""
    root, volumes = shown(url), []
    for folder, subfolders, files in os.walk(root):
        subfolders.sort()
        if folder != root and set(METADATA_FILES) & set(files) and _is_volume(folder):
            volumes.append(os.path.relpath(folder, root))
            # Inside a volume there are only its levels and chunks.
            subfolders.clear()
        if len(volumes) == _MOST_NAMED:
            break
    return f"; inside are: {', '.join(volumes)}" if volumes else ""


def shown(base: str) -> str:
    """Returns a folder's URL as a user would write it."""
    if base.startswith("file://"):
        path = urllib.request.url2pathname(base.removeprefix("file://").replace("|zip:", ":"))
        return path.rstrip("/").rstrip(":")
    return base.rstrip("/")


def _json(answer: ts.KvStore.ReadResult) -> dict[str, Any] | None:
    if answer.state != "value":
        return None
    try:
        value = json.loads(answer.value)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_volume(folder: str) -> bool:
    """Whether a folder is an array or a pyramid, and not a group of them."""
    files = read_metadata(Path(folder).absolute().as_uri() + "/")
    zarr3, n5, info = files["zarr.json"], files["attributes.json"], files["info"]
    if zarr3 is not None:
        attributes = zarr3.get("attributes", {})
        images = attributes.get("ome", attributes)
        return zarr3.get("node_type") == "array" or "multiscales" in images
    if files[".zarray"] is not None or "multiscales" in (files[".zattrs"] or {}):
        return True
    return "dimensions" in (n5 or {}) or "scales" in (info or {})
