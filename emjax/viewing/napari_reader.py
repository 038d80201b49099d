"""Opens volumes in napari: what napari calls for an address of emjax, and for points that the plugin saved.

napari finds the plugin by `napari.yaml` beside this file (an entry point of the package) and imports nothing before
somebody opens something. It opens files and folders, which have to exist; every other address that emjax reads
(docs/volumes.md) is for the form *Plugins > Open an address*, or in a program for `add_volumes`. Lengths are nm,
and places those of OME-Zarr: 0 is the centre of the first voxel of the whole.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import dask.array
import numpy as np
import tensorstore as ts
from dask.array.core import normalize_chunks

from emjax.errors import InputError
from emjax.viewing.layers import AFFINITIES, IMAGE, LABELS, Layer, open_layers
from emjax.viewing.levels import find_levels
from emjax.volumes.address import parse_volumes
from emjax.volumes.format import Request
from emjax.volumes.formats import find_format
from emjax.volumes.origin import file_corner, origin_voxels

if TYPE_CHECKING:
    import napari.types  # pyright: ignore[reportMissingImports]  # an extra

# Data, keyword arguments of the layer, kind of the layer.
LayerData: TypeAlias = tuple[Any, dict[str, Any], str]
# Labels of up to this many bytes are read at once, since only voxels in memory can be painted on.
PAINTED_BYTES = 1 << 28
# Bytes that are read at once of all others.
_CHUNK_BYTES = 1 << 23
POINT_COLUMNS = ("z_nm", "y_nm", "x_nm")


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Returns the function that reads what napari was asked to open; None where emjax does not know the format.

    Args:
        path: address of a volume, file of points, or several of them.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if all(p.lower().endswith(".csv") for p in paths):
        return read_points
    try:
        for one in paths:
            for entry in parse_volumes(one):
                find_format(Request(entry.image))
    except InputError:
        return None
    return read_volumes


def read_volumes(path: str | Sequence[str]) -> list[LayerData]:
    """Returns a layer for each volume: ids as Labels, all else as Image, channels of predictions one by one.

    Args:
        path: address of a volume, or several of them; only the parts that are looked at are read, but for small
            labels.

    Raises:
        InputError: as `emjax.viewing.layers.open_layers`.
    """
    paths = [path] if isinstance(path, str) else list(path)
    return [_make(layer) for one in paths for layer in open_layers(one)]


def add_volumes(viewer: Any, address: str) -> list[Any]:
    """Adds a layer to a viewer for each volume of an address, and returns the layers.

    Args:
        viewer: a `napari.Viewer`.
        address: of one or more volumes, as in `data.volumes`: 'a.h5:raw[0:64]|a.h5:labels[0:64]; b.zarr'.

    Raises:
        InputError: as `read_volumes`.
    """
    added: list[Any] = []
    for data, options, kind in read_volumes(address):
        layers = getattr(viewer, f"add_{kind}")(data, **options)
        added += layers if isinstance(layers, list) else [layers]
    return added


def open_address(address: str) -> list[napari.types.LayerDataTuple]:
    """Opens volumes by their address: the form that napari makes of this function.

    Args:
        address: as in `data.volumes`: PATH[:DATASET][BOX][?key=value], several separated by ';'.
    """
    return read_volumes(address)  # type: ignore[return-value]


def read_points(path: str | Sequence[str]) -> list[LayerData]:
    """Returns a Points layer, nm, for each file that `emjax.viewing.napari_writer.write_points` wrote.

    Raises:
        InputError: if a file has no columns z_nm, y_nm and x_nm, or one of their values is no number.
    """
    found = []
    for one in [path] if isinstance(path, str) else path:
        with open(one, newline="") as file:
            rows = list(csv.DictReader(file))
        try:
            points = [[float(row[column]) for column in POINT_COLUMNS] for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{one} is no table of points: it needs columns {', '.join(POINT_COLUMNS)} of numbers"
            ) from error
        options = {"name": one.rpartition("/")[2].removesuffix(".csv"), "units": ("nm",) * 3}
        found.append((np.array(points).reshape(-1, 3), options, "points"))
    return found


def _make(layer: Layer) -> LayerData:
    volume = layer.volume
    kind = "labels" if layer.kind == LABELS else "image"
    levels = [_lazy(level.store, layer.kind) for level in find_levels(volume)]
    size = math.prod(volume.shape) * volume.dtype.itemsize
    if layer.kind == LABELS and size <= PAINTED_BYTES:
        data: Any = np.asarray(levels[0])
    else:
        data = levels if len(levels) > 1 else levels[0]
    # Labels that do not say where they lie were moved over their image.
    moved = np.array(layer.origin) - file_corner(volume.address) - volume.box.start
    origin = np.array(origin_voxels(volume)) + moved
    options: dict[str, Any] = {
        "name": layer.name,
        "scale": tuple(layer.voxel_nm),
        "translate": tuple((origin * layer.voxel_nm).tolist()),
        "metadata": {"emjax": {"address": str(volume.address)}},
    }
    if volume.voxel_nm is not None:
        options["units"] = ("nm",) * 3
    if layer.kind == IMAGE:
        options["contrast_limits"] = layer.limits
    if layer.kind == AFFINITIES:
        options |= _channel_options(layer)
    return data, options, kind


def _channel_options(layer: Layer) -> dict[str, Any]:
    """Returns what makes a layer of each channel: those that `view` draws in red, green and blue, the others hidden."""
    count = layer.volume.shape[0]
    names = layer.channels or tuple(f"channel {number}" for number in range(count))
    colours = dict(zip(layer.colours, ("red", "green", "blue"), strict=False))
    return {
        "channel_axis": 0,
        "name": [f"{layer.name} {name}" for name in names],
        "colormap": [colours.get(number, "gray") for number in range(count)],
        "visible": [number in colours for number in range(count)],
        "blending": "additive",
        "contrast_limits": [layer.limits] * count,
    }


class _Reads:
    """A store as dask takes arrays: slices are read when they are wanted."""

    def __init__(self, store: ts.TensorStore) -> None:
        self._store = store
        self.shape, self.dtype = tuple(store.shape), store.dtype.numpy_dtype
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._store[index].read().result())


def _lazy(store: ts.TensorStore, kind: str) -> dask.array.Array:
    chunk = [side or 1 for side in store.chunk_layout.read_chunk.shape or store.shape]
    chunks = normalize_chunks(
        "auto",
        tuple(store.shape),
        limit=_CHUNK_BYTES,
        dtype=store.dtype.numpy_dtype,
        previous_chunks=tuple(min(c, n) for c, n in zip(chunk, store.shape, strict=True)),
    )
    array = dask.array.from_array(_Reads(store), chunks=chunks, asarray=False, name=False)
    # Labels of napari are whole numbers.
    return array.astype(np.uint8) if kind == LABELS and array.dtype == bool else array
