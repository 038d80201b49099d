"""Whether the files of a checkpoint can be read, found out by reading them."""

from __future__ import annotations

import json
import os

import tensorstore
from etils import epath


def check_readable(step_folder: epath.Path) -> None:
    """Reads a whole checkpoint, without placing it on any device.

    A file that was cut off names parts that are no longer there, which only reading them shows:
    neither its folder nor orbax's list of steps does.

    Args:
        step_folder: `checkpoints/<step>`.

    Raises:
        ValueError: if a part cannot be read.
    """
    for item in sorted(step_folder.iterdir()):
        if not item.is_dir():
            continue
        for path in item.iterdir():
            if path.name == "metadata" and "array_metadatas" not in str(path):
                json.loads(path.read_text())
        if (item / "manifest.ocdbt").exists():
            _read_arrays(item)


def _read_arrays(item: epath.Path) -> None:
    url = os.fspath(item)
    base = url if "://" in url else f"file://{os.path.abspath(url)}"
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base.rstrip("/") + "/"}).result()
    # A few at a time: the point is to read, not to hold.
    for key in store.list().result():
        store.read(key).result()
