"""Writes the tables of objects as Parquet files, which pandas, DuckDB, Spark and R can open.

`objects.parquet` has a row for each object, sorted by `id`; `contacts.parquet` has a row for each pair that touches,
sorted by (`id_a`, `id_b`) with `id_a` < `id_b`. docs/objects.md lists the columns. The metadata of both files hold
`voxel_nm`, the address and the units.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emjax.geometry.sizes import Size, Triple
from emjax.objects.measure import Contacts, ObjectSums
from emjax.runs.whole_file import open_whole

# Number of rows that are computed, written and read together.
_GROUP = 1 << 18
_OBJECT_COLUMNS = (
    *(("id", pa.uint64()), ("voxels", pa.int64()), ("volume_um3", pa.float64())),
    *((name, pa.int64()) for name in ("z0", "y0", "x0", "z1", "y1", "x1")),
    *((f"centroid_{axis}_nm", pa.float64()) for axis in "zyx"),
    *(("surface_um2", pa.float64()), ("border_um2", pa.float64())),
    *(("touches_border", pa.bool_()), ("contacts", pa.int64())),
)
_INTENSITY = ("mean_intensity", pa.float64())
_CONTACT_COLUMNS = (
    *(("id_a", pa.uint64()), ("id_b", pa.uint64()), ("faces", pa.int64())),
    ("area_um2", pa.float64()),
)
_UNITS = {
    "volume_um3": "cubic micrometres",
    "z0, y0, x0": "first voxel of the bounding box, counted from the first voxel of the file",
    "z1, y1, x1": "one past its last voxel",
    "centroid_*_nm": "nanometres; 0 is the centre of the first voxel of a file without translation",
    "surface_um2, border_um2, area_um2": "square micrometres of voxel faces",
}


@dataclasses.dataclass(frozen=True)
class Space:
    """Where the voxels of a volume lie in nanometres.

    Attributes:
        voxel_nm: (z, y, x) voxel size, nm.
        start: (z, y, x) of the volume's first voxel, in voxels of the file.
        origin_voxels: (z, y, x) of that voxel's centre, in voxels, where the file says that it lies.
        address: address of the volume.
    """

    voxel_nm: Triple
    start: Size
    origin_voxels: Triple
    address: str

    @property
    def face_um2(self) -> np.ndarray:
        """Area of a voxel's face across z, y, x, `[3]` in square micrometres."""
        z, y, x = self.voxel_nm
        return np.asarray([y * x, z * x, z * y]) / 1e6

    @property
    def voxel_um3(self) -> float:
        """Volume of a voxel in cubic micrometres."""
        return float(np.prod(self.voxel_nm)) / 1e9

    def metadata(self) -> dict[str, str]:
        """Returns the metadata that both files hold."""
        return {
            "voxel_nm": json.dumps(self.voxel_nm),
            "axes": "zyx",
            "address": self.address,
            "units": json.dumps(_UNITS),
        }


def write_objects(
    path: str | os.PathLike[str],
    sums: ObjectSums,
    contacts: Contacts,
    space: Space,
    *,
    intensity: bool = False,
) -> None:
    """Writes `objects.parquet`, in one piece.

    `surface_um2` is the sum of the areas of the voxel faces that an object shares with other objects or with
    background inside the volume. For a smooth surface this is 1.5 times the true area on average, and 1.73 times at
    most. Faces at the border of the volume do not count as surface, since the object may continue there: their area is
    `border_um2`, and `touches_border` says whether there are any.

    Args:
        path: path of the file.
        sums: sums of each object in the whole volume.
        contacts: contacts in the whole volume.
        space: where the voxels lie in nanometres.
        intensity: whether the sums include those of an image.
    """
    columns = (*_OBJECT_COLUMNS, *([_INTENSITY] if intensity else []))
    partners = contacts.partners(sums.ids)
    with _writer(path, columns, space) as writer:
        for rows in _slices(len(sums)):
            part = dataclasses.replace(
                sums, **{f.name: getattr(sums, f.name)[rows] for f in dataclasses.fields(sums)}
            )
            writer.write_table(_object_rows(part, partners[rows], space, columns))


def write_contacts(path: str | os.PathLike[str], contacts: Contacts, space: Space) -> None:
    """Writes `contacts.parquet`, in one piece.

    Args:
        path: path of the file.
        contacts: contacts in the whole volume.
        space: where the voxels lie in nanometres.
    """
    with _writer(path, _CONTACT_COLUMNS, space) as writer:
        for rows in _slices(len(contacts)):
            pairs, faces = contacts.pairs[rows], contacts.faces[rows]
            values = [pairs[:, 0], pairs[:, 1], faces.sum(axis=1), _area(faces, space)]
            writer.write_table(_table(values, _CONTACT_COLUMNS))


def _object_rows(sums: ObjectSums, partners: np.ndarray, space: Space, columns: tuple) -> pa.Table:
    start = np.asarray(space.start)
    centres = [
        (sums.means(axis) + space.origin_voxels[axis]) * space.voxel_nm[axis] for axis in range(3)
    ]
    values = [
        *(sums.ids, sums.voxels, sums.voxels * space.voxel_um3),
        *(sums.start + start).T,
        *(sums.stop + start).T,
        *centres,
        *(_area(sums.faces, space), _area(sums.border, space)),
        *((sums.border > 0).any(axis=1), partners),
    ]
    if len(columns) > len(values):
        values.append(sums.means(3))
    return _table(values, columns)


def _area(faces: np.ndarray, space: Space) -> np.ndarray:
    # Not a matrix product, whose order of addition, and so the rounding, depends on the library.
    z, y, x = space.face_um2
    return faces[:, 0] * z + faces[:, 1] * y + faces[:, 2] * x


def _table(values: list[np.ndarray], columns: tuple) -> pa.Table:
    arrays = [
        pa.array(np.ascontiguousarray(column), kind)
        for column, (_, kind) in zip(values, columns, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(columns))


def _slices(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _GROUP) for begin in range(0, max(count, 1), _GROUP))


@contextlib.contextmanager
def _writer(path: str | os.PathLike[str], columns: tuple, space: Space) -> Iterator[Any]:
    schema = pa.schema(columns, metadata=space.metadata())
    with open_whole(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer
