"""Augmentation on the CPU by scipy, in the style of PyTorch Connectomics: one numpy crop after the other, by chance.

The operators and probabilities are those of our default recipe; image and labels move together. Source for the style:
arXiv:2112.05754 (written anew).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_STRONG = ("cutout", "missing", "misalign", "section_blur", "noise")


def augment(
    rng: np.random.Generator, window: np.ndarray, labels: np.ndarray, crop: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Augments one window.

    Args:
        rng: random numbers.
        window: `[Z, Y, X]` uint8, at least 4/3 of the crop in y and x.
        labels: likewise, int32.
        crop: (z, y, x) voxels.

    Returns:
        `[z, y, x]` float32 in [0, 1], and int32.
    """
    image, labels = _orient(rng, window.astype(np.float32) / 255, labels)
    image, labels = _rescale(rng, image, labels, crop)
    if rng.random() < 0.3:
        image, labels = _elastic(rng, image, labels)
    if rng.random() < 0.8:
        image = image * (1 + rng.uniform(-0.05, 0.05)) + rng.uniform(-0.05, 0.05)
        image = np.clip(image, 0, 1) ** (2.0 ** rng.uniform(-1, 1))
    if rng.random() < 0.3:
        image = image + rng.normal(0, rng.uniform(0, 0.05), crop).astype(np.float32)
    if rng.random() < 0.3:
        sigma = rng.uniform(0, 1)
        image = ndimage.gaussian_filter(image, (0, sigma, sigma))
    if rng.random() < 0.5:
        for name in rng.choice(_STRONG, rng.integers(1, 4), replace=False):
            image, labels = _damage(rng, str(name), image, labels)
    return np.clip(image, 0, 1).astype(np.float32), labels


def _orient(rng: np.random.Generator, *arrays: np.ndarray) -> list[np.ndarray]:
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    turned = rng.random() < 0.5
    flipped = [np.flip(a, axes) for a in arrays]
    return [np.ascontiguousarray(a.swapaxes(1, 2) if turned else a) for a in flipped]


def _rescale(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, crop: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    zoom = rng.uniform(0.75, 4 / 3) if rng.random() < 0.5 else 1.0
    sides = [round(side / zoom) for side in crop[1:]]
    box = [
        slice((n - c) // 2, (n - c) // 2 + c)
        for n, c in zip(image.shape, (crop[0], *sides), strict=True)
    ]
    image, labels = image[tuple(box)], labels[tuple(box)]
    factors = [c / n for c, n in zip(crop, image.shape, strict=True)]
    if zoom == 1.0:
        return image, labels
    return ndimage.zoom(image, factors, order=1), ndimage.zoom(labels, factors, order=0)


def _elastic(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    places = list(
        np.meshgrid(*[np.arange(n, dtype=np.float32) for n in image.shape], indexing="ij")
    )
    for axis in (1, 2):
        field = rng.standard_normal(image.shape, np.float32)
        field = ndimage.gaussian_filter(field, (2, 16, 16))
        places[axis] += 2 * field / field.std()
    moved = ndimage.map_coordinates(image, places, order=1, mode="mirror")
    return moved, ndimage.map_coordinates(labels, places, order=0, mode="mirror")


def _damage(
    rng: np.random.Generator, name: str, image: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = image.shape
    section = int(rng.integers(z))
    image = image.copy()
    if name == "cutout":
        for _ in range(int(rng.integers(60, 101))):
            size = rng.integers(
                (min(5, z), min(10, y), min(10, x)),
                (min(10, z) + 1, min(20, y) + 1, min(20, x) + 1),
            )
            start = [int(rng.integers(n - s + 1)) for n, s in zip(image.shape, size, strict=True)]
            image[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = 0
    elif name == "missing":
        image[section] = 0
    elif name == "misalign":
        shift = tuple(rng.integers(-17, 18, 2))
        image[section:] = ndimage.shift(image[section:], (0, *shift), order=0)
        labels = labels.copy()
        labels[section:] = ndimage.shift(labels[section:], (0, *shift), order=0, cval=-1)
    elif name == "section_blur":
        image[section] = ndimage.gaussian_filter(image[section], rng.uniform(0, 5))
    else:
        image += rng.normal(0, rng.uniform(0.01, 0.2), image.shape).astype(np.float32)
    return image, labels
