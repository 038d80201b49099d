"""The two passes over the voxels of every crop that is read: stretch its contrast, and see whether anything is in it.

Compiled, since a training step waits for them: numpy would make four to seven passes, each through memory.
"""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled

# What the compiled pass reads as it is; all else becomes float32 before.
_READ_AS_IS = ("uint8", "uint16", "int16", "float32")
# A crop is blank when its grey values (0 to 255) barely differ, or most are clipped, as in the padding of mosaics.
_BLANK_DEVIATION = 2.0
_BLANK_CLIPPED = 0.5


def stretch(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Makes `low` 0 and `high` 255, rounds half to even, and clips.

    Args:
        image: any shape, integers or floats.
        low: grey value.
        high: grey value.

    Returns:
        uint8 of the same shape. NaN is 0: black, as padding is, so that much of it counts as blank.
    """
    if image.dtype.name not in _READ_AS_IS or not image.dtype.isnative:
        image = image.astype(np.float32)
    stretched = np.empty(image.shape, np.uint8)
    scale = np.float32(255.0 / (high - low))
    _stretch(np.ascontiguousarray(image).reshape(-1), np.float32(low), scale, stretched.reshape(-1))
    return stretched


def is_blank(image: np.ndarray) -> bool:
    """Whether `[z, y, x]` uint8 shows nothing: almost one grey value, or mostly 0 and 255."""
    # Every fourth voxel in the plane decides as well as all of them.
    part = image[:, ::2, ::2]
    total, squares, clipped = _moments(part)
    if clipped > _BLANK_CLIPPED * part.size:
        return True
    return bool(squares / part.size - (total / part.size) ** 2 < _BLANK_DEVIATION**2)


@compiled
def _stretch(image: np.ndarray, low: np.float32, scale: np.float32, stretched: np.ndarray) -> None:
    # Between 0 and 255, float32 has no room for fractions beside 2^23: adding it rounds, and in vectors, unlike rint.
    whole = np.float32(2**23)
    for i in range(image.size):
        value = (np.float32(image[i]) - low) * scale
        # False for NaN.
        value = value if value > np.float32(0) else np.float32(0)
        value = value if value < np.float32(255) else np.float32(255)
        stretched[i] = np.uint8(np.int32((value + whole) - whole))


@compiled
def _moments(image: np.ndarray) -> tuple[int | np.integer, ...]:
    """Returns the sum of grey values, of their squares, and how many are 0 or 255."""
    total, squares, clipped = 0, 0, 0
    for z in range(image.shape[0]):
        for y in range(image.shape[1]):
            # 32 bits hold the sums of a row, and are added twice as fast.
            row_total, row_squares, row_clipped = np.int32(0), np.int32(0), np.int32(0)
            for x in range(image.shape[2]):
                value = np.int32(image[z, y, x])
                row_total += value
                row_squares += value * value
                row_clipped += np.int32(value == 0) | np.int32(value == 255)
            total += row_total
            squares += row_squares
            clipped += row_clipped
    return total, squares, clipped
