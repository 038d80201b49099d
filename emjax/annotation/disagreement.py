"""Where a network contradicts labels strongly, over more than the width of a border: labels that may be wrong."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def contradicted(
    prediction: np.ndarray, truth: np.ndarray, known: np.ndarray, least: float, thickness: int
) -> tuple[np.ndarray, np.ndarray]:
    """Marks the voxels where the network is sure and labels say the opposite.

    Annotators draw borders a voxel or two apart, which contradicts a network along every membrane; so only what remains
    of a contradiction after an opening within sections counts.

    Args:
        prediction: `[c, z, y, x]` float in [0, 1].
        truth: of the same shape, 0 or 1.
        known: of the same shape, bool: where labels say anything.
        least: difference between the two that counts, in (0, 1).
        thickness: voxels of a square in y and x that must fit into what is contradicted; 1: any voxel counts.

    Returns:
        Where the network says yes and labels no, and where labels say yes and the network no, in any channel,
        `[z, y, x]` bool each.

    Source: confident disagreement as sign of wrong labels, "Confident Learning" (arXiv:1911.00068). The opening is our
    choice.
    """
    difference = prediction - truth
    square = np.ones((1, thickness, thickness), bool)
    found = []
    for sign in (1, -1):
        marked = np.zeros(prediction.shape[1:], bool)
        for channel, there in zip(sign * difference, known, strict=True):
            strong = (channel >= least) & there
            if thickness > 1 and strong.any():
                strong = ndimage.binary_opening(strong, square)
            marked |= strong
        found.append(marked)
    return found[0], found[1]
