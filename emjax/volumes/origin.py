"""Where a volume lies in its whole, from the metadata of its file and the box of its address.

This is decided here alone, for every format. Each format reads its own metadata (`Format.where`): the translation
of OME-Zarr, `voxel_offset` of precomputed volumes, `offset` of CREMI's HDF5 and of zarr and N5 arrays, `transform` of
OpenOrganelle. `known_origin` is None where a file does not say (TIFF, sections, tiles, arrays without such metadata);
`origin_voxels` then counts from the file's first voxel. `?offset=` of an address, in voxels, overrides the file's
metadata.

OME-Zarr gives the centre of the first voxel. For level 0, a part that begins at voxel 100 of a whole has offset 100
whether centres or corners are meant. For a coarser level the two differ, hence `file_corner`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.address import Address, parse_offset
from emjax.volumes.format import Request
from emjax.volumes.formats import find_format
from emjax.volumes.place import WHOLE, Place

if TYPE_CHECKING:
    from emjax.volumes.volume import Volume


def known_origin(volume: Volume) -> Triple | None:
    """Returns the centre of a volume's first voxel in the whole, (z, y, x), in voxels of the volume.

    0 is the centre of a voxel. Two volumes of one voxel size whose origins differ by 100 lie 100 voxels apart.

    Args:
        volume: an opened volume; if it is a part, its box counts too.

    Returns:
        The origin; None where the file does not say it, so that voxels can only be counted from its own first voxel.

    Raises:
        InputError: if the metadata are damaged.
    """
    place = _place(volume.address)
    if place is None:
        return None
    return _triple(place.level.translation / place.level.scale + volume.box.start)


def origin_voxels(volume: Volume) -> Triple:
    """Returns `known_origin`, or counts from the file's first voxel as 0 where the file does not say where it lies.

    Args:
        volume: an opened volume; if it is a part, its box counts too.

    Raises:
        InputError: if the metadata are damaged.
    """
    origin = known_origin(volume)
    return _triple(np.array(volume.box.start, float)) if origin is None else origin


def place_of(volume: Volume, box: Box) -> Triple:
    """Returns the origin of a part of a volume in the whole, (z, y, x) voxels; what is made from it lies there too.

    Args:
        volume: an opened volume.
        box: the part, in voxels of the volume.

    Raises:
        InputError: as `origin_voxels`.
    """
    return tuple(a + b for a, b in zip(origin_voxels(volume), box.start, strict=True))


def volume_corner(volume: Volume) -> Triple:
    """Returns the corner of a volume's first voxel in the whole, (z, y, x) voxels of the volume; its box counts.

    Args:
        volume: an opened volume.

    Raises:
        InputError: if the metadata are damaged.
    """
    return _triple(np.add(file_corner(volume.address), volume.box.start))


def whole_nm(volume: Volume) -> Triple | None:
    """Returns the (z, y, x) size of the voxels of the whole, nm: those from whose first one's centre places count.

    It is that of the volume, but for a level of a pyramid and for what was made of one or at another voxel size.

    Args:
        volume: an opened volume.

    Returns:
        None where no voxel size is known.

    Raises:
        InputError: if the metadata are damaged.
    """
    place = _place(volume.address)
    if place is None or volume.voxel_nm is None:
        return volume.voxel_nm
    return _triple(place.finest.scale / place.level.scale * volume.voxel_nm)


def whole_attribute(volume: Volume, voxel_nm: Triple | None) -> dict[str, list[float]]:
    """Returns the attribute by which what is made of a volume remembers `whole_nm`; empty where it says nothing new.

    Args:
        volume: what it is made of.
        voxel_nm: (z, y, x) voxel size of what is made.
    """
    whole = whole_nm(volume)
    if whole is None or voxel_nm is None or np.allclose(whole, voxel_nm, rtol=1e-6):
        return {}
    return {WHOLE: list(whole)}


def resampled_place(volume: Volume, voxel_nm: Triple, voxel: Size) -> Triple:
    """Returns the origin of a voxel of another size, in such voxels, as files state it; see `place_of`.

    Args:
        volume: what was resampled.
        voxel_nm: (z, y, x) size of the voxels that it was resampled to.
        voxel: (z, y, x) number of the voxel on the lattice that begins at the corner of the whole.
    """
    whole = whole_nm(volume) or voxel_nm
    shift = (np.array(voxel_nm) - whole) / 2 / voxel_nm
    return _triple(np.add(voxel, shift))


def file_corner(address: Address) -> Triple:
    """Returns the corner of a file's first voxel, so that levels and parts can be laid over their whole.

    The translation of level 0 is used as it is, so that a part that begins at voxel 100 lies at voxel 100. A coarser
    level is moved by half of its own voxel less half a voxel of level 0, so that its corner is that of level 0.

    Args:
        address: of the file; its box makes no difference.

    Returns:
        (z, y, x) in voxels of the addressed level; whole numbers except for coarse levels; 0 if not stated.

    Raises:
        InputError: if the metadata are damaged.
    """
    place = _place(address)
    if place is None:
        return (0.0, 0.0, 0.0)
    level, finest = place
    # A level without a translation of its own begins where level 0 does.
    if not level.translation.any():
        return _triple(finest.translation / level.scale)
    return _triple((level.translation - (level.scale - finest.scale) / 2) / level.scale)


def _place(address: Address) -> Place | None:
    """Reads where a file lies; None where neither file nor address says it, or the values are impossible."""
    if "offset" in address.keys:
        return Place.of(parse_offset(address.keys["offset"]))
    request = Request(address)
    form = find_format(request)
    if form.where is None:
        return None
    try:
        place = form.where(request)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{address.path}: its metadata do not say where it lies: {type(error).__name__} {error}"
        ) from error
    if place is None:
        return None
    possible = all(
        np.isfinite(part.scale).all()
        and (part.scale > 0).all()
        and np.isfinite(part.translation).all()
        for part in place
    )
    return place if possible else None


def _triple(values: np.ndarray) -> Triple:
    # Rounded, so that whole voxels stay whole on the way through nanometres and back: 4.4 nm / 1.1 nm is not exactly 4.
    return tuple(np.round(values, 6).tolist())
