"""Checks that the files of a checkpoint can be read, by reading them."""

from __future__ import annotations

import json
import os

import tensorstore
from etils import epath


def check_readable(step_folder: epath.Path) -> None:
    """Reads a whole checkpoint, without placing it on any device.

    A truncated file refers to parts that no longer exist. Only reading them shows this: neither the
    folder nor orbax's list of steps does.

    Args:
        step_folder: folder `checkpoints/<step>`.

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
    # One at a time, since the values are only read and not kept.
    for key in store.list().result():
        store.read(key).result()
