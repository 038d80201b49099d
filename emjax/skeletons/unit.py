"""The unit of coordinates in SWC files, which the format leaves open."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Triple
from emjax.skeletons.skeleton import Skeleton

_LENGTHS = {"nm": 1.0, "um": 1000.0}
VOXEL = "voxel"
# In voxels the centre of the first voxel is at 0, as in Vaa3D and the tracings of BigNeuron; in lengths its corner is.
_CENTRE = 0.5


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit of coordinates.

    Attributes:
        name: as it was given.
        nm: its length, nm; None for voxels.
    """

    name: str
    nm: float | None

    @classmethod
    def parse(cls, text: str, field: str) -> Unit:
        """Reads the name of a unit.

        Args:
            text: 'voxel', 'nm', 'um', or a number of nm.
            field: configuration field that names it, for the message.

        Raises:
            InputError: if it is none of these.
        """
        if text == VOXEL:
            return cls(text, None)
        if text in _LENGTHS:
            return cls(text, _LENGTHS[text])
        try:
            nm = float(text)
        except ValueError:
            nm = 0.0
        if not (nm > 0 and math.isfinite(nm)):
            raise InputError(
                f"{field}={text}: give 'voxel', 'nm', 'um', or the length of the unit in nm, as in {field}=8"
            )
        return cls(text, nm)

    def in_nm(self, skeleton: Skeleton, voxel_nm: Triple | None) -> Skeleton:
        """Returns a skeleton of this unit in nm from the corner of the first voxel.

        Args:
            skeleton: of this unit.
            voxel_nm: (z, y, x) voxel size, nm; None where it is not known.

        Raises:
            InputError: if the unit is the voxel, and its size is not known.
        """
        if self.nm is not None:
            return skeleton.transformed(np.full(3, self.nm), np.zeros(3), self.nm)
        if voxel_nm is None:
            raise InputError(
                f"skeleton {skeleton.name} is in voxels, and their size is not known; add ?voxel_nm=Z,Y,X to the "
                "address of the volume"
            )
        # A radius is one number: that of the shortest side, which is that of the plane in most volumes.
        return skeleton.transformed(np.asarray(voxel_nm), np.full(3, _CENTRE), min(voxel_nm))

    def in_voxels(self, skeleton: Skeleton, voxel_nm: Triple | None) -> Skeleton:
        """Returns a skeleton of this unit in voxels; the centre of the first one is at 0.

        Args:
            skeleton: of this unit.
            voxel_nm: (z, y, x) voxel size, nm; None where it is not known.

        Raises:
            InputError: if the unit is a length, and the size of voxels is not known.
        """
        if self.nm is None:
            return skeleton
        if voxel_nm is None:
            raise InputError(
                f"skeleton {skeleton.name} is in {self.name}, and no voxel size is known; add ?voxel_nm=Z,Y,X to the "
                "address of the volume, or say that it is in voxels"
            )
        scale = self.nm / np.asarray(voxel_nm)
        return skeleton.transformed(scale, -_CENTRE / scale, self.nm / min(voxel_nm))

    def from_nm(self, skeleton: Skeleton) -> Skeleton:
        """Returns a skeleton of nm in this unit, which is a length.

        Args:
            skeleton: nm.
        """
        assert self.nm is not None
        return skeleton.transformed(np.full(3, 1 / self.nm), np.zeros(3), 1 / self.nm)

    def from_voxels(self, skeleton: Skeleton, voxel_nm: Triple | None) -> Skeleton:
        """Returns a skeleton of voxels, as `in_voxels` returns it, in this unit.

        Args:
            skeleton: in voxels.
            voxel_nm: (z, y, x) voxel size, nm; None where it is not known.

        Raises:
            InputError: if the unit is a length, and the size of voxels is not known.
        """
        return skeleton if self.nm is None else self.from_nm(VOXELS.in_nm(skeleton, voxel_nm))

    @property
    def origin(self) -> str:
        """What is at 0, in words."""
        return f"the {'centre' if self.nm is None else 'corner'} of the first voxel"


VOXELS = Unit(VOXEL, None)
