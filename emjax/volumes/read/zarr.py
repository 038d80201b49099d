"""Reads zarr 2 and 3, plain or sharded, and the pyramids of OME-Zarr on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorstore as ts

from emjax.errors import InputError
from emjax.volumes.attributes import ATTRIBUTE, parent_url
from emjax.volumes.axes import Names, arrange, attribute_names, axis_names
from emjax.volumes.chunk_sides import write_sides
from emjax.volumes.format import Format, Request, Writer
from emjax.volumes.place import WHOLE, Place, offset_place, ome_place
from emjax.volumes.read.arrays import check_level, checked, only_level_0, open_store
from emjax.volumes.read.bounded_chunks import bounded_blosc
from emjax.volumes.read.chunks import Chunks, refuse_if_none
from emjax.volumes.read.folder_metadata import read_metadata, shown, volumes_inside
from emjax.volumes.read.opened import Opened
from emjax.volumes.read.outside import inside
from emjax.volumes.read.webknossos import find_magnification
from emjax.volumes.voxel_sizes import SIZES, attribute_voxel_nm, ome_voxel_nm, unit_voxel_nm

Metadata = dict[str, dict[str, Any] | None]


def open_zarr(request: Request) -> Opened:
    """Opens an array, or one level of a pyramid.

    Raises:
        InputError: if it is a group of arrays, has no such level, or cannot be read; if none of its chunks exist.
    """
    image = _image(request.metadata)
    if image is not None:
        return _open_level(request, image)
    if _node(request.metadata) == "group":
        base = request.base
        raise InputError(f"{shown(base)} is a group, not an array; name one{volumes_inside(base)}")
    only_level_0(request.base, request.level)
    found, attributes = _listed(request), _attributes(request.metadata)
    if found is not None:
        store = _open_array(request.base, request, found.attributes)
        return _of_level(store, found.image, found.level, request)
    store = _open_array(request.base, request, attributes)
    names = _names(request.metadata, store)
    voxel_nm = attribute_voxel_nm(attributes, names)
    if voxel_nm is None or not any(names):
        magnification = find_magnification(request.base, request.context)
        if magnification is not None:
            voxel_nm = voxel_nm or magnification.voxel_nm
            names = names if any(names) else magnification.names
    store = arrange(store, names, shown(request.base), request.time)
    return Opened(store, voxel_nm or unit_voxel_nm(store))


def where(request: Request) -> Place | None:
    """Reads the translations of OME-Zarr, or the `offset` or `transform` of an array."""
    image = _image(request.metadata)
    if image is not None:
        ours = _attributes(request.metadata).get(ATTRIBUTE, {})
        return ome_place(image, request.level, ours.get(WHOLE, ()))
    found = _listed(request)
    if found is not None:
        ours = found.attributes.get(ATTRIBUTE, {})
        return ome_place(found.image, found.level, ours.get(WHOLE, ()))
    attributes = _attributes(request.metadata)
    array = request.metadata["zarr.json"] or request.metadata[".zarray"] or {}
    names = attribute_names(attributes, len(array.get("shape", ())))
    if not any(names):
        names = axis_names(array.get("dimension_names") or (), len(array.get("shape", ())))
    voxel_nm = request.voxel_nm(attribute_voxel_nm(attributes, names))
    return offset_place(attributes, voxel_nm, names)


class _Listed(NamedTuple):
    """The image to which an array belongs as a level, the level's number, and the attributes of the image's group."""

    image: dict[str, Any]
    level: int
    attributes: dict[str, Any]


def _listed(request: Request) -> _Listed | None:
    """Returns the OME-Zarr image to which an array belongs as a level, as `em.zarr:0` does to em.zarr; else None.

    The array's own metadata take precedence over the image's.
    """
    own = _attributes(request.metadata)
    if any(name in own for name in (*SIZES, "offset", "transform")):
        return None
    parent, name = parent_url(request.base)
    if not parent:
        return None
    try:
        metadata = read_metadata(parent, request.context)
        image = _image(metadata)
        paths = [level["path"].strip("/") for level in (image or {}).get("datasets", ())]
    except (InputError, LookupError, TypeError, AttributeError):
        # Even if the group is damaged, the array can be read without it.
        return None
    if not image or name not in paths:
        return None
    return _Listed(image, paths.index(name), _attributes(metadata))


def _open_level(request: Request, image: dict[str, Any]) -> Opened:
    """Opens one level of an OME-Zarr image, version 0.4 or 0.5."""
    base, levels = request.base, image["datasets"]
    check_level(base, request.level, len(levels))
    folder = base + inside(request.address, levels[request.level]["path"]) + "/"
    store = _open_array(folder, request, _attributes(request.metadata))
    return _of_level(store, image, request.level, request)


def _of_level(store: ts.TensorStore, image: dict[str, Any], level: int, request: Request) -> Opened:
    """Arranges the array of a level by the axes of its image, and reads the size of its voxels."""
    axes = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", [])]
    # Versions up to 0.3 have no axes in their metadata; they are t, c, z, y, x.
    axes = axes or [{"name": name} for name in "tczyx"[-store.rank :]]
    names = axis_names([a["name"] for a in axes], len(axes))
    if not set("zyx") <= set(names) or len(names) != store.rank:
        listed = [a["name"] for a in axes]
        raise InputError(f"{shown(request.base)} has axes {listed}; a volume needs z, y and x")
    scale = [1.0] * store.rank
    for owner in (image, image["datasets"][level]):
        for transformation in owner.get("coordinateTransformations", []):
            if transformation.get("type") == "scale":
                scale = [a * b for a, b in zip(scale, transformation["scale"], strict=True)]
    named = [{**axis, "name": name} for axis, name in zip(axes, names, strict=True)]
    return Opened(
        arrange(store, names, shown(request.base), request.time), ome_voxel_nm(named, scale)
    )


def _open_array(base: str, request: Request, attributes: dict[str, Any]) -> ts.TensorStore:
    """Opens an array of zarr 2 or 3, and checks that some of its chunks exist."""
    if request.metadata["zarr.json"] is not None:
        store = open_store(base, "zarr3", request)
        encoding = store.spec().to_json()["metadata"].get("chunk_key_encoding", {})
        start = [] if encoding.get("name") == "v2" else ["c"]
        default = "/" if start else "."
        separator = encoding.get("configuration", {}).get("separator", default)
        refuse_if_none(_chunks(base, store, start, separator), request, attributes)
        return bounded_blosc(store, base, request)
    store = open_store(base, "zarr", request)
    separator = store.spec().to_json()["metadata"].get("dimension_separator", ".")
    chunks = _chunks(base, store, [], separator)
    if separator == "." and not chunks.any_there():
        # Nested chunks of old zarr-python 2 versions, whose metadata do not say that they are nested.
        nested = _chunks(base, store, [], "/")
        if nested.any_there():
            store = open_store(base, "zarr", request, metadata={"dimension_separator": "/"})
            return bounded_blosc(store, base, request)
    refuse_if_none(chunks, request, attributes)
    return bounded_blosc(store, base, request)


def _chunks(base: str, store: ts.TensorStore, start: list[str], separator: str) -> Chunks:
    sides = write_sides(store)
    grid = tuple(-(-n // side) for n, side in zip(store.shape, sides, strict=True))
    return Chunks(base, grid, lambda index: separator.join([*start, *map(str, index)]))


def _claims(request: Request) -> bool:
    metadata = request.metadata
    if metadata["zarr.json"] is not None or metadata[".zarray"] is not None:
        return True
    return "multiscales" in (metadata[".zattrs"] or {})


def _node(metadata: Metadata) -> str:
    return (metadata["zarr.json"] or {}).get("node_type", "array")


def _image(metadata: Metadata) -> dict[str, Any] | None:
    """Returns the first image of a group; None for an array."""
    if metadata[".zarray"] is not None or (metadata["zarr.json"] and _node(metadata) == "array"):
        return None
    attributes = _attributes(metadata)
    images = attributes.get("ome", attributes).get("multiscales")
    return images[0] if images else None


def _attributes(metadata: Metadata) -> dict[str, Any]:
    if metadata["zarr.json"] is not None:
        return metadata["zarr.json"].get("attributes", {})
    return metadata[".zattrs"] or {}


def _names(metadata: Metadata, store: ts.TensorStore) -> Names:
    """Returns the names of the axes: those of zarr 3 metadata, else those of attributes."""
    names = axis_names(store.domain.labels, store.rank)
    return names if any(names) else attribute_names(_attributes(metadata), store.rank)


FORMAT = Format(
    title="zarr 2 or 3, plain, sharded or zipped; OME-Zarr 0.4 or 0.5",
    given=".zarr",
    examples=("em.zarr", "em.zarr:volumes/raw", "em.zarr?level=1", "plate.zarr:0", "em.zarr.zip"),
    reads="its chunks (inner chunks of shards)",
    voxel_nm=(
        "OME-Zarr: `coordinateTransformations` of the level times those of the image, with the units of the axes, "
        "unknown without units; else attributes `resolution`, `voxel_size_nm_zyx` or `voxel_size` (nm, or as `units` "
        "says), `transform` (OpenOrganelle), else the units of the dimensions"
    ),
    place="OME-Zarr: `translation`; else attribute `offset` (nm, or as `units` says), `transform`",
    open=checked(open_zarr),
    where=where,
    claims=_claims,
    remote=True,
    datasets=True,
    levels=True,
    times=True,
    missing="fill",
    absent="a chunk that was never written",
    writer=Writer("emjax.volumes.write.zarr:ZarrOutput", (".zarr",), "NAME.zarr (OME-Zarr)"),
)
