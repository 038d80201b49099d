"""What tells a volume from another one that was put in its place."""

from __future__ import annotations

import os
from collections.abc import Mapping

from emjax.volumes.address import Address
from emjax.volumes.read.folder_metadata import METADATA_FILES


def fingerprint(address: str | Address) -> list[Mapping[str, int] | str]:
    """Returns what changes when a volume is replaced by another one of the same name, as far as files tell.

    Args:
        address: of the volume; of a remote one the address alone is known.
    """
    known = Address.parse(address) if isinstance(address, str) else address
    known = known.absolute()
    found: list[Mapping[str, int] | str] = [str(known)]
    if "://" in known.path:
        return found
    folders = [known.path, *([os.path.join(known.path, known.dataset)] if known.dataset else [])]
    files = [os.path.join(folder, name) for folder in folders for name in METADATA_FILES]
    for path in (known.path, *files):
        if os.path.isfile(path):
            status = os.stat(path)
            found.append({"time_ns": status.st_mtime_ns, "bytes": status.st_size})
    return found
