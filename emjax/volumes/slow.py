"""Advice to convert volumes whose format makes reading parts of them slow."""

from __future__ import annotations

import dataclasses
import functools
import shlex
from pathlib import Path

from absl import logging

from emjax.volumes.address import Address
from emjax.volumes.volume import Volume

# Keys that change the voxels or the metadata of a copy.
_COPIED = ("voxel_nm", "offset", "level", "missing")


def say_if_slow(*volumes: Volume | None, parts: str = "crops") -> None:
    """Logs, once per file and process, the command that copies a file to chunked zarr whose parts are slow to read.

    Args:
        volumes: volumes that a job will read in parts; None is skipped.
        parts: what the job reads of them.
    """
    for volume in volumes:
        if volume is not None and volume.slow_random_access:
            _say(parts, volume.address.source, convert_command(volume.address))


def convert_command(address: Address) -> str:
    """Returns the command that copies a volume to OME-Zarr beside it.

    Args:
        address: of a file or folder on this machine.
    """
    whole = dataclasses.replace(
        address, box="", keys={k: v for k, v in address.keys.items() if k in _COPIED}
    )
    path = Path(address.path)
    # The pattern folder/*.png is copied to folder.zarr.
    if "*" in path.name or "?" in path.name:
        path = path.parent
    name = "_".join([path.stem or "volume", *address.dataset.split("/")]).rstrip("_") + ".zarr"
    source, output = (shlex.quote(str(a)) for a in (whole, path.parent / name))
    return (
        f"python -m emjax.main --config configs/convert.py --config.input={source} "
        f"--config.output={output}"
    )


@functools.cache
def _say(parts: str, source: str, command: str) -> None:
    logging.warning(
        "%s of %s are slow to read: its format decodes far more than is asked for. A copy as chunked zarr reads "
        "many times faster: %s",
        *(parts, source, command),
    )
