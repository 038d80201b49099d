"""Two passes over the voxels of every crop that is read: one stretches its contrast, the other checks if it is blank.

They are compiled, since a training step waits for them: numpy would need four to seven passes through memory.
"""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled

# Types that the compiled pass reads directly; all others are converted to float32 first.
_READ_AS_IS = ("uint8", "uint16", "int16", "float32")
# A crop is blank if the standard deviation of its grey values (0 to 255) is below the first number, or the share of
# values that are 0 or 255, as in the padding of mosaics, is above the second.
_BLANK_DEVIATION = 2.0
_BLANK_CLIPPED = 0.5


def stretch(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps grey values linearly from `low` .. `high` to 0 .. 255, rounds half to even, and clips.

    Args:
        image: grey values of any shape, integers or floats.
        low: grey value that becomes 0.
        high: grey value that becomes 255.

    Returns:
        uint8 of the same shape. NaN becomes 0, like padding, so that a crop with much of it counts as blank.
    """
    if image.dtype.name not in _READ_AS_IS or not image.dtype.isnative:
        image = image.astype(np.float32)
    stretched = np.empty(image.shape, np.uint8)
    scale = np.float32(255.0 / (high - low))
    _stretch(np.ascontiguousarray(image).reshape(-1), np.float32(low), scale, stretched.reshape(-1))
    return stretched


def is_blank(image: np.ndarray) -> bool:
    """Whether a crop `[z, y, x]` uint8 shows nothing: almost one grey value, or mostly 0 and 255."""
    # Every fourth voxel of a section is enough to decide.
    part = image[:, ::2, ::2]
    total, squares, clipped = _moments(part)
    if clipped > _BLANK_CLIPPED * part.size:
        return True
    return bool(squares / part.size - (total / part.size) ** 2 < _BLANK_DEVIATION**2)


@compiled
def _stretch(image: np.ndarray, low: np.float32, scale: np.float32, stretched: np.ndarray) -> None:
    # Adding 2^23 to a float32 of 0 to 255 leaves no bits for fractions, and so rounds it; unlike rint, this is compiled
    # to vector instructions.
    whole = np.float32(2**23)
    for i in range(image.size):
        value = (np.float32(image[i]) - low) * scale
        # The comparison is False for NaN, which becomes 0.
        value = value if value > np.float32(0) else np.float32(0)
        value = value if value < np.float32(255) else np.float32(255)
        stretched[i] = np.uint8(np.int32((value + whole) - whole))


@compiled
def _moments(image: np.ndarray) -> tuple[int | np.integer, ...]:
    """Returns the sum of grey values, the sum of their squares, and how many are 0 or 255."""
    total, squares, clipped = 0, 0, 0
    for z in range(image.shape[0]):
        for y in range(image.shape[1]):
            # The sums of a row fit into 32 bits, which are added twice as fast as 64.
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
