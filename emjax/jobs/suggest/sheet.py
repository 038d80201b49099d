"""Contact sheets: the middle section of each box of a list, with what speaks for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emjax.annotation.uncertainty import entropy
from emjax.data.normalization import Normalization
from emjax.geometry.box import Box
from emjax.jobs.suggest.placement import box_in
from emjax.jobs.suggest.suspects import Contradiction
from emjax.pictures.overlays import overlay, section_grid
from emjax.volumes.volume import Volume

# Most boxes that are drawn; most voxels of one along y or x that are read, and most pixels that they become.
_MOST = 24
_SHOWN = 2048
_PIXELS = 512
# Voxels in y and x that are drawn around suspects.
_MARGIN = 32


def draw_suggestions(
    volume: Volume,
    normalization: Normalization,
    prediction: Volume,
    names: Sequence[str],
    boxes: Sequence[Box],
) -> np.ndarray:
    """Draws image and uncertainty of the first boxes.

    Args:
        volume: that the boxes are of.
        normalization: of its grey values.
        prediction: of the same tissue.
        names: of its channels.
        boxes: of one size.

    Returns:
        `[height, width, 3]` uint8.
    """
    rows, labels = [], []
    for number, box in enumerate(boxes[:_MOST]):
        section, step = _middle(box)
        there = box_in(volume, section, prediction)
        middle = Box((there.start[0] + there.size[0] // 2, *there.start[1:]), (1, *there.size[1:]))
        doubt = entropy(prediction.read(middle), names)[0]
        image = _grey(volume, normalization, section)[::step, ::step]
        rows.append([image, _fit(doubt, image.shape)])
        labels.append(f"{number + 1}: {box.translate(volume.box.start)}")
    return section_grid(rows, ["image", "uncertainty"], labels, _pixel_nm(volume, boxes))


def draw_suspects(doubted: Contradiction, boxes: Sequence[Box]) -> np.ndarray:
    """Draws image, labels and prediction around the first doubted boxes.

    Args:
        doubted: labels and prediction.
        boxes: in voxels of the labels, of one size.

    Returns:
        `[height, width, 3]` uint8.
    """
    entry, prediction = doubted.entry, doubted.prediction
    whole = Box((0, 0, 0), entry.image.size)
    name, labels = next(iter(entry.all_labels.items()))
    rows, titles = [], []
    for number, box in enumerate(boxes[:_MOST]):
        section, _ = _middle(box)
        # Moved into the volume, so that all panels have one size.
        size = tuple(
            min(s + (2 * _MARGIN if axis else 0), n)
            for axis, (s, n) in enumerate(zip(section.size, whole.size, strict=True))
        )
        start = tuple(
            max(0, min(a + s // 2 - n // 2, w - n))
            for a, s, n, w in zip(section.start, section.size, size, whole.size, strict=True)
        )
        shown = Box(start, size)
        image = _grey(entry.image, entry.normalization, shown)
        there = box_in(entry.image, shown, prediction)
        stored = prediction.read(there)[:, 0].astype(np.float32)
        stored = stored.mean(axis=0) / (255 if prediction.dtype == np.uint8 else 1)
        ids = labels.volume.read(shown)[0]
        ids = np.where(labels.ids.objects(ids), ids, 0)
        rows.append([image, overlay(image, ids), _fit(stored, image.shape)])
        titles.append(f"{number + 1}: {box.translate(entry.image.box.start)}")
    return section_grid(
        rows, ["image", name or "labels", "network"], titles, _pixel_nm(entry.image, [])
    )


def _middle(box: Box) -> tuple[Box, int]:
    """Returns the middle section of a box, of a large one only its middle, and which of its pixels are drawn."""
    sides = [min(side, _SHOWN) for side in box.size[1:]]
    corner = [a + (n - s) // 2 for a, n, s in zip(box.start[1:], box.size[1:], sides, strict=True)]
    z = box.start[0] + box.size[0] // 2
    return Box((z, *corner), (1, *sides)), -(-max(sides) // _PIXELS)


def _grey(volume: Volume, normalization: Normalization, section: Box) -> np.ndarray:
    return normalization.apply(volume.read(section))[0].astype(np.float32) / 255


def _fit(section: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a section in another number of pixels, each the nearest one."""
    rows, columns = (
        np.minimum((np.arange(n) * s) // n, s - 1)
        for n, s in zip(shape, section.shape, strict=True)
    )
    return section[np.ix_(rows, columns)]


def _pixel_nm(volume: Volume, boxes: Sequence[Box]) -> float | None:
    if volume.voxel_nm is None:
        return None
    return volume.voxel_nm[2] * (_middle(boxes[0])[1] if boxes else 1)
