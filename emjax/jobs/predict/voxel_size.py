"""Which voxel size a prediction is made at, and which it is written at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Cores, Grid
from emjax.geometry.sizes import Size, Triple
from emjax.inference.resampled import ResampledGrid
from emjax.runs.spec import RunSpec, check_voxel_nm, show_nm
from emjax.volumes.origin import place_of, resampled_place, volume_corner, whole_attribute, whole_nm
from emjax.volumes.pairs import same_voxels
from emjax.volumes.resampling import Resampling
from emjax.volumes.volume import Volume

TRAINED, NATIVE = "trained", "native"
AT = (TRAINED, NATIVE)
# Voxels that are interpolated this many times finer hold little that a network has learnt to see.
_FINEST = 2.0


@dataclasses.dataclass(frozen=True)
class VoxelSize:
    """How the voxels of an input, of the network and of the output relate.

    Attributes:
        volume: the images, as they are stored.
        trained_nm: (z, y, x) voxel size that the network sees; None where it is not known.
        resampling: from the stored voxels to those that the network sees; None where these are the same.
        at: which of the two the output has, 'trained' or 'native'.
    """

    volume: Volume
    trained_nm: Triple | None
    resampling: Resampling | None
    at: str

    @property
    def seen_size(self) -> Size:
        """(z, y, x) voxels of the volume that the network sees."""
        return self.resampling.target_size if self.resampling else self.volume.size

    @property
    def resampled_output(self) -> Resampling | None:
        """From the stored voxels to those of the output; None where these are the same."""
        return self.resampling if self.at == TRAINED else None

    @property
    def output_nm(self) -> Triple | None:
        """(z, y, x) voxel size of the output, nm; None where it is not known."""
        return self.trained_nm if self.resampled_output else self.volume.voxel_nm

    def outer(self, text: str) -> Box:
        """Returns what is written, in voxels of the output's grid.

        Args:
            text: a box in stored voxels; '': all. Of coarser or finer voxels those that have a part of it are written.

        Raises:
            InputError: if it is no box of the volume.
        """
        whole = Box((0, 0, 0), self.volume.size)
        box = Box.from_text(text, self.volume.size) if text else whole
        return self.resampled_output.cover(box) if self.resampled_output else box

    def tile_in_output(self, tile_size: Size) -> Size:
        """Returns about how many voxels of the output a tile covers, (z, y, x)."""
        if self.resampling is None or self.at == TRAINED:
            return tile_size
        sides = zip(tile_size, self.resampling.scale, strict=True)
        return tuple(max(1, round(side * scale)) for side, scale in sides)

    def cores(self, grid: Grid) -> Cores:
        """Returns what the network predicts for each block of the output, in voxels that it sees."""
        if self.resampling is None or self.at == TRAINED:
            return grid
        return ResampledGrid(grid, self.resampling.back)

    def reads(self, seen: Box) -> Box:
        """Returns the stored voxels that a box of those that the network sees is made of."""
        return self.resampling.reads(seen) if self.resampling else seen

    def see(self, image: np.ndarray, seen: Box) -> np.ndarray:
        """Returns what the network sees in a box.

        Args:
            image: `[z, y, x]` uint8, the stored voxels of `reads(seen)`.
            seen: in voxels that the network sees.
        """
        return self.resampling.interpolate(image, seen) if self.resampling else image

    def origin(self, outer: Box) -> Triple:
        """Returns where a box of the output begins in the whole, in its voxels, as files state it."""
        grid = self.resampled_output
        if grid is None or self.trained_nm is None:
            return place_of(self.volume, outer)
        voxel = tuple(a + b for a, b in zip(grid.first, outer.start, strict=True))
        return resampled_place(self.volume, self.trained_nm, voxel)

    def attributes(self, box: str) -> dict[str, Any]:
        """Returns what the output remembers: the voxels of its whole, and those that it was resampled from.

        Args:
            box: as of `outer`.
        """
        found: dict[str, Any] = whole_attribute(self.volume, self.output_nm)
        if self.resampled_output is None or self.volume.voxel_nm is None:
            return found
        size = self.volume.size
        part = Box.from_text(box, size) if box else Box((0, 0, 0), size)
        corner = np.add(volume_corner(self.volume), part.start)
        return found | {
            NATIVE: {
                "voxel_nm": list(self.volume.voxel_nm),
                "size": list(part.size),
                "corner": corner.tolist(),
                "whole_nm": list(whole_nm(self.volume) or self.volume.voxel_nm),
            }
        }

    @property
    def identity(self) -> list[Any] | None:
        """What tells this resampling from others; None without one."""
        if self.resampling is None:
            return None
        return [self.at, self.trained_nm, self.volume.voxel_nm, self.resampling.first]


def choose_voxel_size(
    volume: Volume, spec: RunSpec, checkpoint: str, *, at: str, resample: bool
) -> VoxelSize:
    """Decides whether images are resampled to the voxel size that a network was trained at.

    Args:
        volume: the images.
        spec: of the network.
        checkpoint: its name, for messages.
        at: 'trained' or 'native': which voxel size the output has.
        resample: whether images of another voxel size are resampled; else they are taken as they are, within 20 %.

    Raises:
        InputError: if they are not resampled and differ by more than 20 %.
    """
    given, trained = volume.voxel_nm, tuple(spec.voxel_nm)
    if given is None or not trained:
        logging.warning(
            "the voxel size of %s is unknown: make sure that it is that of the training",
            volume.name if given is None else checkpoint,
        )
        return VoxelSize(volume, trained or None, None, at)
    if same_voxels(given, trained):
        return VoxelSize(volume, trained, None, at)
    if not resample:
        advice = "leave out resample=false, or correct a wrong size by ?voxel_nm=z,y,x"
        check_voxel_nm(given, trained, volume.name, checkpoint, advice)
        return VoxelSize(volume, trained, None, at)
    grid = Resampling.covering(volume.size, given, trained, volume_corner(volume))
    found = VoxelSize(volume, trained, grid, at)
    logging.info(
        "%s is resampled from %s to %s nm, which the network was trained at: %s voxels become %s; written at %s nm",
        volume.name,
        show_nm(given),
        show_nm(trained),
        volume.size,
        grid.target_size,
        show_nm(found.output_nm or ()),
    )
    if min(grid.scale) < 1 / _FINEST:
        logging.warning(
            "%s is interpolated to voxels that are %.1f times finer along an axis: expect little of what the network "
            "learnt to see at %s nm",
            volume.name,
            1 / min(grid.scale),
            show_nm(trained),
        )
    return found


def refuse_native_affinities(
    at: str, size: VoxelSize, names: Sequence[str], offsets: Sequence[Size | None]
) -> None:
    """Refuses to bring affinities to other voxels than those that they join.

    Args:
        at: as configured.
        size: as chosen.
        names: of the channels that are written.
        offsets: of the channels, None for what is no affinity.

    Raises:
        InputError: if one of them is an affinity, and the output would have other voxels than the network.
    """
    if at != NATIVE or size.resampling is None or all(offset is None for offset in offsets):
        return
    others = ",".join(name for name, offset in zip(names, offsets, strict=True) if offset is None)
    instead = f", or channels={others}" if others else ""
    raise InputError(
        f"at=native: affinities join voxels of {show_nm(size.trained_nm or ())} nm, which the network was trained at; "
        f"leave at out here, and segment with at=native, which brings the ids back{instead}"
    )
