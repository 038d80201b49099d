"""Volumes that are compared voxel by voxel, laid over each other by the places that their files state.

A file states its place by a translation or an offset in its metadata, an address by `?offset=`. A box in an address
shifts the place. A place that is not stated is never guessed, so there are four cases:

- No file states a place: the volumes must have the same size, and are taken to be the same part, since the user names
  them together.
- Both state a place: the part that both have is used.
- One states a place and the other does not: if the two have the same size, the other is taken to lie at the same
  place, and this is reported; otherwise it is taken to be the whole, which begins at voxel 0.
- They share no voxel, or the voxels of one lie between those of the other: refused, and the message gives both boxes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.origin import file_corner, known_origin
from emjax.volumes.resampling import Resampling
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

# Largest difference, voxels, at which two grids are taken for one: allows rounded nanometres, but not half a voxel.
_ROUNDING = 0.25
# Voxel sizes with a smaller relative difference count as equal: formats round them.
_SAME_VOXEL = 0.01


@dataclasses.dataclass(frozen=True)
class Laid:
    """Volumes cut to the part that they share.

    Attributes:
        volumes: name -> volume, all of one size.
        place: (z, y, x) voxel of the whole at which they begin.
        moved: (z, y, x) voxel of the first volume, as it was given, at which they begin.
        remarks: what was left out or assumed; empty where all lie at the same place.
    """

    volumes: Mapping[str, Volume]
    place: Triple
    moved: Size
    remarks: tuple[str, ...] = ()

    def log(self) -> None:
        """Logs the remarks, each once in a process."""
        for remark in self.remarks:
            _say(remark)


def lay(volumes: Mapping[str, Volume], around: Collection[str] = ()) -> Laid:
    """Cuts volumes to the part that all of them have.

    Args:
        volumes: role ('labels', 'segmentation') -> volume.
        around: roles of those that do not limit the part, but must cover it.

    Raises:
        InputError: if sizes differ and no place explains it, they share no voxel, or their voxel grids are shifted by a
            fraction of a voxel.
    """
    sheets = [_Sheet.of(what, volume) for what, volume in volumes.items()]
    # A volume that states no place is taken to lie where the others do.
    reference = max(sheets, key=lambda s: (s.is_said, bool(s.volume.address.box)))
    remarks: list[str] = []
    starts = [_start(reference, s, remarks) if s is not reference else (0, 0, 0) for s in sheets]
    boxes = [Box(start, s.volume.size) for start, s in zip(starts, sheets, strict=True)]
    inner = [box for box, s in zip(boxes, sheets, strict=True) if s.what not in around]
    shared: Box | None = inner[0]
    for box in inner[1:]:
        shared = shared and shared.intersect(box)
    if shared is None:
        raise InputError(f"{_named(sheets)}; they share no voxel: give boxes that match")
    cut, left_out = {}, []
    for box, sheet in zip(boxes, sheets, strict=True):
        if not box.contains(shared):
            raise InputError(
                f"{_named(sheets)}; {sheet.what} must have all voxels of the others: give boxes that match"
            )
        cut[sheet.what] = sheet.volume
        if box == shared:
            continue
        cut[sheet.what] = sheet.volume.crop(shared.translate(tuple(-s for s in box.start)))
        if sheet.what not in around:
            left_out.append(f"{box.volume - shared.volume:,} of {box.volume:,} of {sheet.what}")
    if left_out:
        remarks.append(
            f"{_named(sheets)}; the part that all have is used, voxels left out: {', '.join(left_out)}"
        )
    moved = shared.translate(tuple(-s for s in starts[0])).start
    place = tuple(p + s for p, s in zip(reference.place, shared.start, strict=True))
    return Laid(cut, place, moved, tuple(remarks))


def same_voxels(one: Triple, other: Triple) -> bool:
    """Whether two (z, y, x) voxel sizes count as equal: formats round them."""
    return bool(np.allclose(one, other, rtol=_SAME_VOXEL, atol=0))


def at_voxels_of(reference: Volume, ids: Volume, what: str) -> Volume:
    """Returns a volume of ids at another one's voxel size; the same where that is equal or not known.

    Args:
        reference: has the voxel size.
        ids: each voxel of the result has the id of the voxel that its centre lies in.
        what: what the ids are to the job, to say so.
    """
    wanted, own = reference.voxel_nm, ids.voxel_nm
    if wanted is None or own is None or same_voxels(wanted, own):
        return ids
    _say(f"{what} {ids.name}: resampled from {_nm(own)} to {_nm(wanted)} nm, the nearest voxel")
    keys = {**ids.address.keys, "nearest_nm": ",".join(f"{side:.12g}" for side in wanted)}
    whole = open_volume(dataclasses.replace(ids.address, box="", keys=keys))
    if not ids.address.box:
        return whole
    # The box of the address is in stored voxels.
    grid = Resampling.centred(
        open_volume(ids.address.with_box("")).size, own, wanted, file_corner(ids.address)
    )
    part = grid.inside(ids.box)
    if not part.volume:
        raise InputError(
            f"{what} {ids.name} has no centre of a voxel of {_nm(wanted)} nm in its box"
        )
    return whole.crop(part)


def _nm(size: Triple) -> str:
    return ",".join(f"{side:g}" for side in size)


@dataclasses.dataclass(frozen=True)
class _Sheet:
    """A volume and where it lies.

    Attributes:
        what: what the volume is to the job.
        volume: as given.
        place: (z, y, x) voxel of the whole at its first corner; its box counts.
        is_said: whether the metadata of its file state the place.
    """

    what: str
    volume: Volume
    place: Triple
    is_said: bool

    @classmethod
    def of(cls, what: str, volume: Volume) -> _Sheet:
        corner = np.asarray(file_corner(volume.address))
        place = tuple((corner + volume.box.start).tolist())
        return cls(what, volume, place, known_origin(volume) is not None)

    def whole_size(self) -> Size:
        """Returns the size of its whole file."""
        if not self.volume.address.box:
            return self.volume.size
        return open_volume(self.volume.address.with_box("")).size

    @property
    def size_text(self) -> str:
        """The volume's role, name and size, for messages."""
        verb = "are" if self.what.endswith("s") else "is"
        return f"{self.what} {self.volume.name} {verb} {self.volume.size} voxels"

    @property
    def place_text(self) -> str:
        """The volume's box in voxels of the whole, and in nm, for messages."""
        stops = [a + n for a, n in zip(self.place, self.volume.size, strict=True)]
        text = f"[{_ranges(self.place, stops)}]"
        if self.volume.voxel_nm is None:
            return text
        corners = (np.multiply(p, self.volume.voxel_nm).tolist() for p in (self.place, stops))
        return f"{text} ({_ranges(*corners)} nm)"


def _start(reference: _Sheet, other: _Sheet, remarks: list[str]) -> Size:
    """Returns the voxel of the reference, maybe outside of it, at which another volume begins."""
    _compare_voxels(reference, other, remarks)
    pair = _named((reference, other))
    boxes = [sheet.volume.address.box for sheet in (reference, other)]
    same_size = other.volume.size == reference.volume.size
    step = np.subtract(other.place, reference.place)
    if not reference.is_said:
        if not same_size:
            raise InputError(f"{pair}; they must be equal: give boxes that match")
        if step.any() and all(boxes):
            _refuse_boxes_of_one_file(reference, other)
            remarks.append(f"{pair}; no file says where it lies: taken to be the same part")
        return 0, 0, 0
    if not other.is_said and step.any():
        assumed = f"{pair}; the file of {other.what} does not say where it lies: taken to lie where that of "
        if same_size and not boxes[1]:
            remarks.append(f"{assumed}{reference.what} does")
            return 0, 0, 0
        if other.whole_size() == reference.whole_size():
            remarks.append(f"{assumed}{reference.what} does")
            step = np.subtract(other.volume.box.start, reference.volume.box.start)
        elif not (boxes[1] or _holds(other, reference)):
            raise InputError(
                f"{pair}; they must be equal, or one lie in the other: give boxes that match"
            )
    whole = np.rint(step)
    if (np.abs(step - whole) > _ROUNDING).any():
        raise InputError(f"{pair}; the voxels of one lie between those of the other: resample one")
    return tuple(int(s) for s in whole)


def _holds(outer: _Sheet, inner: _Sheet) -> bool:
    starts = np.subtract(inner.place, outer.place)
    stops = starts + inner.volume.size
    beyond = stops - outer.volume.size
    return bool((starts >= -_ROUNDING).all() and (beyond <= _ROUNDING).all())


def _compare_voxels(reference: _Sheet, other: _Sheet, remarks: list[str]) -> None:
    """Refuses different voxel sizes where places are counted in voxels; adds a remark where no place is stated."""
    ours, theirs = reference.volume.voxel_nm, other.volume.voxel_nm
    if ours is None or theirs is None or same_voxels(ours, theirs):
        return
    text = " and ".join(
        f"voxels of {sheet.what} {sheet.volume.name} are {_nm(size)} nm"
        for sheet, size in ((reference, ours), (other, theirs))
    )
    if reference.is_said:
        raise InputError(
            f"{text}; give one level of both, or ?voxel_nm=Z,Y,X where a file is wrong"
        )
    remarks.append(f"{text}: taken to be the same voxels")


def _refuse_boxes_of_one_file(reference: _Sheet, other: _Sheet) -> None:
    """Refuses different boxes of two equally large datasets of one file: such datasets lie over each other."""
    paths = {sheet.volume.address.absolute().path for sheet in (reference, other)}
    if len(paths) == 1 and reference.whole_size() == other.whole_size():
        raise InputError(f"{_named((reference, other))}; give one box for both")


def _named(sheets: Sequence[_Sheet]) -> str:
    sizes = ", ".join(sheet.size_text for sheet in sheets)
    return f"{sizes}; their places are {', '.join(sheet.place_text for sheet in sheets)}"


def _ranges(starts: Sequence[float], stops: Sequence[float]) -> str:
    return ",".join(f"{a:.12g}:{b:.12g}" for a, b in zip(starts, stops, strict=True))


@functools.cache
def _say(remark: str) -> None:
    logging.warning("%s", remark)
