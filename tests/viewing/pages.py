"""What a browser would ask the server of a page for."""

from __future__ import annotations

import io
import json
import urllib.request
import zlib

import numpy as np


def fetch(url: str) -> bytes:
    """Fetches a file of a page."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read()


def read_state(url: str) -> dict:
    """Reads what the page shows, as the browser learns it.

    Args:
        url: the link of the page.
    """
    root, _, token = url.rstrip("/").rpartition("/v/")
    with urllib.request.urlopen(f"{root}/events/{token}?c=test&gc=&gs=", timeout=20) as stream:
        for line in stream:
            event = json.loads(line.removeprefix(b"data: ")) if line.strip() else {}
            if event.get("k") == "s":
                return event["s"]
    raise AssertionError("the server told no state")


def sources(state: dict) -> dict[str, str]:
    """Returns layer -> key of its volume."""
    found = {}
    for layer in state["layers"]:
        (source,) = layer["source"]
        found[layer["name"]] = source["url"].rpartition("/")[2]
    return found


def fetch_info(url: str, key: str) -> dict:
    """Fetches what the server says of a volume."""
    return json.loads(fetch(f"{url.partition('/v/')[0]}/neuroglancer/info/{key}"))


def fetch_chunk(url: str, key: str, scale: tuple, start: tuple, stop: tuple) -> np.ndarray:
    """Fetches voxels.

    Args:
        url: the link of the page.
        key: of the volume.
        scale: voxels along each axis that are one.
        start: the first, in voxels of that scale.
        stop: one past the last.
    """
    place = "/".join(",".join(map(str, part)) for part in (scale, start, stop))
    data = fetch(f"{url.partition('/v/')[0]}/neuroglancer/npz/{key}/{place}")
    return np.load(io.BytesIO(zlib.decompress(data)))
