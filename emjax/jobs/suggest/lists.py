"""Lists of boxes as files: CSV for spreadsheets, JSON for programs, and how to look at each box."""

from __future__ import annotations

import csv
import io
import json
import shlex
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emjax.geometry.box import Box
from emjax.runs.whole_file import write_whole
from emjax.volumes.origin import place_of
from emjax.volumes.volume import Volume

_NEUROGLANCER = "https://neuroglancer-demo.appspot.com/"
# End of the name of an array in a folder -> how neuroglancer calls its format.
_SOURCES = {".zarr": "zarr", ".n5": "n5", "": "precomputed"}
_REMOTE = ("gs://", "s3://", "http://", "https://")


def make_rows(
    volume: Volume, boxes: Sequence[Box], columns: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]]:
    """Makes the rows of a list.

    Args:
        volume: that the boxes are of.
        boxes: in its voxels, the first one first.
        columns: name -> a value for each box.

    Returns:
        Of each box `rank` from 1; its first and last voxels, as slices are written, in the file (`z0`, `z1`, ...); the
        same in nanometres of the whole where the voxel size is known; the further columns; its `address`, as
        `data.volumes` takes it; `view`, the command that shows it; and `link` to neuroglancer where the volume is
        on the network.
    """
    rows = []
    for number, box in enumerate(boxes):
        placed = box.translate(volume.box.start)
        address = volume.address.with_box(str(placed)[1:-1])
        row: dict[str, Any] = {"rank": number + 1}
        ends = [*zip("zyx", placed.start, placed.stop, strict=True)]
        row |= {f"{axis}{end}": place[end] for axis, *place in ends for end in (0, 1)}
        if volume.voxel_nm is not None:
            # Origins are of the centre of a voxel, and half a voxel before it a box begins.
            start = np.multiply(np.subtract(place_of(volume, box), 0.5), volume.voxel_nm)
            stop = start + np.multiply(box.size, volume.voxel_nm)
            both = zip("zyx", start.tolist(), stop.tolist(), strict=True)
            row |= {f"{axis}{end}_nm": place[end] for axis, *place in both for end in (0, 1)}
        row |= {name: _plain(values[number]) for name, values in columns.items()}
        row["address"] = str(address)
        row["view"] = shlex.join(
            ["python", "-m", "emjax.main", "--config", "configs/view.py"]
            + [f"--config.volumes={address}"]
        )
        row["link"] = link(volume, placed)
        rows.append(row)
    return rows


def link(volume: Volume, box: Box) -> str:
    """Returns a link that opens neuroglancer at the middle of a box; '' where a browser cannot reach the volume.

    Args:
        volume: that the box is of.
        box: in voxels of its file.
    """
    address = volume.address
    if not address.path.startswith(_REMOTE) or volume.voxel_nm is None:
        return ""
    path = f"{address.path}/{address.dataset}".rstrip("/")
    kind = next(name for end, name in _SOURCES.items() if end in address.path)
    inside = box.translate(tuple(-s for s in volume.box.start))
    middle = np.add(place_of(volume, inside), np.divide(box.size, 2))
    across = max(box.size[1] * volume.voxel_nm[1], box.size[2] * volume.voxel_nm[2])
    state = {
        "dimensions": {
            axis: [nm * 1e-9, "m"]
            for axis, nm in zip("xyz", reversed(volume.voxel_nm), strict=True)
        },
        "position": middle[::-1].tolist(),
        # So that the box fills about a quarter of a panel of 600 pixels.
        "crossSectionScale": max(across / min(volume.voxel_nm) / 300, 0.125),
        "layers": [{"type": "image", "name": "image", "source": f"{kind}://{path}"}],
        "layout": "4panel",
    }
    return f"{_NEUROGLANCER}#!{urllib.parse.quote(json.dumps(state))}"


def write_list(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `NAME.csv` and `NAME.json`.

    Args:
        folder: that exists.
        name: of the files.
        rows: of `make_rows`; without any, the files are there and empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["rank"])
    writer.writeheader()
    # A field that is not known is empty in CSV, and null in JSON.
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    write_whole(folder / f"{name}.csv", text.getvalue().encode())
    write_whole(folder / f"{name}.json", json.dumps(list(rows), indent=1).encode())


def _plain(value: Any) -> Any:
    """Returns a value that JSON can hold; None for NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value
