"""Scale bars: how long a round number of nanometres is in a picture."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from emjax.pictures.render import render

# Thickness of the bar, pixels around bar and text, pixels between them and the corner of the panel.
_THICK, _GAP, _MARGIN = 4, 3, 4
# Most of the length that the bar takes, as a share of a panel.
_SHARE = 0.35
_DPI = 100
_UNITS = ((1e6, "mm"), (1e3, "µm"), (1.0, "nm"))


def round_length(most: float) -> float:
    """Returns the largest of 1, 2, 5, 10, 20, 50, ... (also 0.5, 0.2, ...) that is not above a length.

    Args:
        most: the length, above 0.
    """
    power = 10.0 ** math.floor(math.log10(most))
    return max(factor * power for factor in (1.0, 2.0, 5.0) if factor * power <= most * (1 + 1e-9))


def show_length(nm: float) -> str:
    """Returns a length in the unit in which it is a number of few digits: '500 nm', '2 µm'.

    Args:
        nm: the length, nm.
    """
    size, unit = next((s, u) for s, u in (*_UNITS, (0.0, "nm")) if nm >= s)
    return f"{nm / (size or 1.0):g} {unit}"


def with_scale_bar(
    picture: np.ndarray, pixel_nm: float | None, corner: tuple[float, float], panel: float
) -> np.ndarray:
    """Returns a picture with a scale bar in the lower left corner of a panel.

    Args:
        picture: `[height, width, 3]` uint8.
        pixel_nm: length that a pixel of the picture stands for, nm; None if it is not known: there is no bar then.
        corner: (down, right) pixel of the panel's lower left corner.
        panel: width of the panel, pixels; the bar is shorter.
    """
    if not pixel_nm:
        return picture
    nm = round_length(pixel_nm * panel * _SHARE)
    length = max(1, round(nm / pixel_nm))
    text = _draw_text(show_length(nm))
    height = text.shape[0] + 2 * _GAP + _THICK
    width = max(length, text.shape[1]) + 2 * _GAP
    bottom, left = round(corner[0]) - _MARGIN, round(corner[1]) + _MARGIN
    drawn = picture.copy()
    # Dark below, so that it is seen on any image.
    box = drawn[max(0, bottom - height) : bottom, left : left + width]
    box //= 4
    label = box[: text.shape[0], _GAP : _GAP + text.shape[1]]
    label[:] = np.maximum(label, text[: label.shape[0], : label.shape[1]])
    box[-_GAP - _THICK : -_GAP, _GAP : _GAP + length] = 255
    return drawn


def _draw_text(text: str) -> np.ndarray:
    """Returns white text on black, `[height, width, 3]` uint8, cut to what is not black."""
    figure = Figure(figsize=(1.5, 0.2), dpi=_DPI, facecolor="black")
    figure.text(0.02, 0.5, text, fontsize=8, color="white", va="center")
    drawn = render(figure)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in ((1, 2), (0, 2)))
    return drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
