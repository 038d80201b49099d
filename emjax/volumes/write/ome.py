"""The OME-Zarr 0.5 metadata of an image: its axes, and where the voxels of each level lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emjax.geometry.sizes import Size, Triple

_VERSION = "0.5"


def ome_attributes(
    name: str,
    rank: int,
    voxel_nm: Triple | None,
    origin: Triple = (0, 0, 0),
    factors: Sequence[Size] = ((1, 1, 1),),
    downscaling: str = "",
) -> dict[str, Any]:
    """Returns the group attribute `ome` of an image.

    Args:
        name: of the image.
        rank: 3 for z, y, x; 4 with channels before them.
        voxel_nm: (z, y, x) nm; None leaves the unit out, so that nobody takes the scale of 1 for nanometres.
        origin: (z, y, x) voxel of the whole at which the image begins.
        factors: for each level, the (z, y, x) voxels of full resolution that one voxel spans.
        downscaling: how the levels were made; '' leaves it unsaid.

    Source: OME-NGFF specification 0.5, https://ngff.openmicroscopy.org/0.5/
    """
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * (rank - 3)
    unit = {"unit": "nanometer"} if voxel_nm else {}
    axes += [{"name": axis, "type": "space", **unit} for axis in "zyx"]
    nm = [float(v) for v in voxel_nm or (1, 1, 1)]
    image: dict[str, Any] = {
        "name": name,
        "axes": axes,
        "datasets": [
            {
                "path": str(number),
                "coordinateTransformations": _transformations(rank - 3, nm, origin, factor),
            }
            for number, factor in enumerate(factors)
        ],
    }
    if downscaling:
        image["type"] = downscaling
    return {"version": _VERSION, "multiscales": [image]}


def _transformations(
    leading: int, voxel_nm: Sequence[float], origin: Triple, factor: Size
) -> list[dict[str, Any]]:
    """Returns the scale of a level and the place of the centre of its first voxel, as OME transformations.

    The first voxel of a level spans the voxels 0 to factor - 1 of full resolution, so its centre is their mean.
    """
    scale = [n * f for n, f in zip(voxel_nm, factor, strict=True)]
    first = [o + (f - 1) / 2 for o, f in zip(origin, factor, strict=True)]
    transformations = [{"type": "scale", "scale": [1.0] * leading + scale}]
    if any(first):
        moved = [p * n for p, n in zip(first, voxel_nm, strict=True)]
        transformations.append({"type": "translation", "translation": [0.0] * leading + moved})
    return transformations
