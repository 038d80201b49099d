"""The stack that is traced: how strong the evidence for neurite is in each voxel, and which voxels are neurite."""

from __future__ import annotations

import dataclasses

import cc3d
import edt
import numpy as np
from skimage.filters import threshold_otsu

from emjax.errors import InputError
from emjax.geometry.sizes import Size, Triple
from emjax.runs.memory import free_memory_bytes

# Bytes of memory for each voxel at the most: evidence, mask, two distance maps, arrival times and owners.
BYTES_PER_VOXEL = 18
# Value of full evidence.
FULL = 255
# Largest part of the free memory that is used.
_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Stack:
    """A volume that is traced. Lengths are in voxels of the shortest side.

    Attributes:
        evidence: `[z, y, x]` uint8, 0 to 255.
        mask: `[z, y, x]` bool, whether a voxel is neurite.
        depth: `[z, y, x]` float32, distance of a voxel of neurite from the nearest that is none; 0 outside.
        spacing: (z, y, x) sides of a voxel.
    """

    evidence: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    spacing: Triple

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        threshold: float,
        spacing: Triple = (1.0, 1.0, 1.0),
        min_voxels: int = 0,
        white: float | None = None,
    ) -> Stack:
        """Makes a stack of an image or a prediction.

        Args:
            values: `[z, y, x]` numbers, larger where neurite is likelier.
            threshold: voxels of larger values are neurite.
            spacing: (z, y, x) sides of a voxel; the shortest is 1.
            min_voxels: pieces of neurite of fewer voxels are left out.
            white: value of full evidence; None: that of the brightest thousandth of what is neurite.

        Raises:
            InputError: if no voxel is neurite.
        """
        mask = values > threshold
        if not mask.any():
            raise InputError(
                f"no voxel is above threshold={threshold:g}: the largest value is {values.max():g}; give a lower "
                "--config.threshold, or another input"
            )
        if min_voxels > 1:
            kept = cc3d.dust(mask, threshold=min_voxels, connectivity=26)
            if not kept.any():
                raise InputError(
                    f"no piece above threshold={threshold:g} has {min_voxels} voxels (min_voxels); give a lower "
                    "--config.threshold or --config.min_voxels"
                )
            mask = np.asarray(kept, bool)
        if white is None:
            white = float(np.quantile(values[mask], 0.999))
        scale = FULL / max(white - threshold, 1e-6) / 2
        # Half at the threshold, so that the dark rim of a neurite is better than what is beside it.
        evidence = np.clip((values.astype(np.float32) - threshold) * scale + FULL / 2, 0, FULL)
        return cls(evidence.astype(np.uint8), mask, inner_depth(mask, spacing), spacing)

    @property
    def size(self) -> Size:
        """(z, y, x) voxels."""
        return self.mask.shape

    def near(self, distance: float) -> np.ndarray:
        """Returns which voxels are neurite or not farther from it than a distance, `[z, y, x]` bool."""
        return edt.edt(~self.mask, anisotropy=self.spacing, black_border=False) <= distance


def inner_depth(mask: np.ndarray, spacing: Triple) -> np.ndarray:
    """Returns the distance of each voxel of a mask from its edge, `[z, y, x]` float32; the stack's border is none.

    Distances are to the middle of the nearest voxel outside, less half a voxel: to the face between both.

    Args:
        mask: `[z, y, x]` bool.
        spacing: (z, y, x) sides of a voxel.
    """
    if mask.all():
        # Nothing is outside: the border is all that is known.
        depth = edt.edt(np.ascontiguousarray(mask), anisotropy=spacing, black_border=True)
    else:
        depth = edt.edt(np.ascontiguousarray(mask), anisotropy=spacing, black_border=False)
    return np.maximum(depth - np.float32(0.5), 0, out=depth)


def find_threshold(values: np.ndarray) -> float:
    """Returns Otsu's threshold of an image.

    Args:
        values: `[z, y, x]` numbers.

    Raises:
        InputError: if all voxels are equal.

    Source: Otsu, "A threshold selection method from gray-level histograms", doi:10.1109/TSMC.1979.4310076.
    """
    if values.min() == values.max():
        raise InputError(
            f"all voxels of the input are {values.flat[0]:g}: nothing can be traced; check the address and the box"
        )
    return float(threshold_otsu(values))


def check_memory(size: Size, what: str) -> None:
    """Refuses what does not fit into memory, as long as nothing was read.

    Args:
        size: (z, y, x) voxels.
        what: that is traced, for the message.

    Raises:
        InputError: if it does not fit; says how much is needed, and how large a part would fit.
    """
    voxels = int(np.prod([int(n) for n in size]))
    needed, free = voxels * BYTES_PER_VOXEL, int(free_memory_bytes() * _SHARE)
    if needed > free:
        raise InputError(
            f"{what} has {voxels:,} voxels, which are traced in memory: that takes {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; trace a part of at most {free // BYTES_PER_VOXEL:,} voxels with "
            "--config.box, or a coarser level (?level=1)"
        )
