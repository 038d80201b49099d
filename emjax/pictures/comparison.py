"""A segmentation beside the truth: image, labels, segments in the colours of their labels, and a map of the errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emjax.pictures.agreement import MERGED, MISSED, NOTHING, RIGHT, Agreement, draw_kinds
from emjax.pictures.overlays import overlay, section_grid

# Titles of the map of errors, for objects, masks and maps of classes.
ERRORS_TITLE = "split blue, merged red, missed yellow"
MASK_TITLE = "too much red, missed yellow"
CLASSES_TITLE = "wrong or too much red, missed yellow"


def draw_comparison(
    images: Sequence[np.ndarray] | None,
    labels: Sequence[np.ndarray] | None,
    segments: Sequence[np.ndarray],
    agreement: Agreement | None,
    names: Sequence[str],
    pixel_nm: float | None,
    *,
    image_title: str = "image",
    classes: bool = False,
) -> np.ndarray:
    """Draws sections of a segmentation and of what it is compared with.

    Args:
        images: `[y, x]` in [0, 1] of each section; None: colours alone are drawn.
        labels: `[y, x]` integers of each section, 0 for what is no object or not known; None: there are none.
        segments: `[y, x]` integers of each section, 0 for no segment.
        agreement: which segments are which objects; None: ids are shown as they are, and compared as masks.
        names: label of each row.
        pixel_nm: voxel size along x, nm; None if it is unknown.
        image_title: title of the first column.
        classes: whether the ids of masks are classes, which must be equal; otherwise all ids above 0 are one mask.

    Returns:
        `[height, width, 3]` uint8.
    """
    titles = [image_title] if images is not None else []
    titles += ["labels", "segmentation"] if labels is not None else ["segmentation"]
    if labels is not None:
        titles.append(ERRORS_TITLE if agreement else CLASSES_TITLE if classes else MASK_TITLE)
    rows = []
    for index, found in enumerate(segments):
        grey = images[index] if images is not None else None
        row = [] if grey is None else [grey]
        if labels is not None:
            row.append(overlay(grey, labels[index]))
        row.append(overlay(grey, found, None if agreement is None else agreement.colours(found)))
        if labels is not None:
            row.append(draw_kinds(grey, _kinds(agreement, labels[index], found, classes)))
        rows.append(row)
    return section_grid(rows, titles, names, pixel_nm)


def _kinds(
    agreement: Agreement | None, true: np.ndarray, found: np.ndarray, classes: bool
) -> np.ndarray:
    if agreement is not None:
        return agreement.kinds(true, found)
    right = true == found if classes else true > 0
    kinds = np.where(found > 0, np.where(right, RIGHT, MERGED), MISSED)
    return np.where((true == 0) & (found == 0), NOTHING, kinds).astype(np.uint8)
