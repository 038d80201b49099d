"""Scores how well features find the tissue of one view in another: retrieval among distractors, and soft matching.

Every set of features (trained, untrained, raw pixels) gets the same distractors, because these
depend on the positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates

from emjax.errors import InputError
from emjax.geometry.sizes import Size


def draw_distractors(
    coordinates: np.ndarray,
    crops: np.ndarray,
    *,
    exclusion_radius: Sequence[float],
    count: int = 255,
    seed: int = 0,
) -> np.ndarray:
    """Draws for each query the keys that its own key competes with, uniformly and without repetition.

    Keys of the same crop within the box of `exclusion_radius` around the true position are not
    drawn, since they partly show the same tissue.

    Args:
        coordinates: `[q, 3]` true z, y, x positions of the keys in their crops, voxels.
        crops: `[q]` number of the crop of each key.
        exclusion_radius: (z, y, x) voxels; a key may be drawn if it is farther than this along
            any axis. Places that are twice a network's halo apart share no voxel of its input.
        count: number of distractors for each query.
        seed: query i draws from a generator of (seed, i), so that the result does not depend on
            the machine.

    Returns:
        `[q, count]` int64 indices of keys.

    Raises:
        InputError: if shapes do not match, or a query has fewer than `count` possible distractors.

    Source: our choice.
    """
    coordinates, crops = np.asarray(coordinates, np.float64), np.asarray(crops)
    if coordinates.shape != (len(crops), 3):
        raise InputError(
            f"coordinates {coordinates.shape} and crops {crops.shape} must be [q, 3] and [q]"
        )
    chosen = np.empty((len(crops), count), np.int64)
    for i in range(len(crops)):
        far = np.any(np.abs(coordinates - coordinates[i]) > exclusion_radius, axis=1)
        possible = np.flatnonzero(far | (crops != crops[i]))
        if len(possible) < count:
            raise InputError(
                f"query {i} has {len(possible)} possible distractors of the {count} needed; "
                "raise eval.queries or eval.crops, or lower eval.distractors"
            )
        rng = np.random.Generator(np.random.Philox(key=[seed, i]))
        chosen[i] = rng.choice(possible, count, replace=False)
    return chosen


def retrieval_top1(queries: np.ndarray, keys: np.ndarray, distractors: np.ndarray) -> float:
    """Returns the share of queries whose own key is nearer, by cosine, than all their distractors.

    Args:
        queries: `[q, d]` features in one view.
        keys: `[q, d]` features of the same tissue in the other view; row i belongs to query i.
        distractors: `[q, n]` indices of rows of `keys`, from `draw_distractors`.

    Returns:
        Top-1 accuracy in [0, 1]. A key that ties with k distractors counts 1 / (1 + k), so that
        constant features score chance, not 1. Features that are not finite never win.
    """
    queries, keys = _direction(queries), _direction(keys)
    wins = 0.0
    for i, others in enumerate(distractors):
        own = queries[i] @ keys[i]
        scores = keys[others] @ queries[i]
        if np.isfinite(own) and not np.any(scores > own + _TIE):
            wins += 1.0 / (1 + np.count_nonzero(scores >= own - _TIE))
    return wins / len(queries)


def chance_top1(distractors: np.ndarray) -> float:
    """Returns the top-1 accuracy of guessing among a query's key and its distractors `[q, n]`."""
    return 1.0 / (1 + distractors.shape[1])


def patch_descriptors(images: np.ndarray, points: np.ndarray, patch_size: int = 16) -> np.ndarray:
    """Returns raw pixels as features: the patch around each position, within its section.

    Args:
        images: `[b, z, y, x]` of any real dtype.
        points: `[b, n, 3]` z, y, x positions, voxels; may lie between voxels.
        patch_size: side in y and x, voxels. An even patch is centred between voxels.

    Returns:
        `[b, n, patch_size ** 2]` float32 with mean 0 and length 1 (0 for a constant patch).
        Sections are not mixed: the patch is interpolated linearly within the nearest section.
        Images are mirrored at their border.
    """
    images, points = np.asarray(images, np.float32), np.asarray(points, np.float64)
    steps = np.arange(patch_size) - (patch_size - 1) / 2
    rows, columns = np.meshgrid(steps, steps, indexing="ij")
    descriptors = np.empty((*points.shape[:2], patch_size**2), np.float32)
    for row, (image, places) in enumerate(zip(images, points, strict=True)):
        where = np.broadcast_to(places.T[:, :, None], (3, len(places), patch_size**2)).copy()
        where[0] = np.clip(np.rint(where[0]), 0, len(image) - 1)
        where[1] += rows.ravel()
        where[2] += columns.ravel()
        descriptors[row] = map_coordinates(image, where, order=1, mode="mirror")
    descriptors -= descriptors.mean(axis=-1, keepdims=True)
    # Of a constant patch only rounding errors are left, which must not be scaled to length 1.
    length = np.linalg.norm(descriptors, axis=-1, keepdims=True)
    scale = max(float(np.abs(images).max(initial=0.0)), 1e-30)
    return np.where(length > 1e-5 * scale, descriptors / np.maximum(length, 1e-30), 0.0)


def soft_argmax(
    queries: np.ndarray, candidates: np.ndarray, temperature: float = 0.1
) -> np.ndarray:
    """Returns a soft assignment of queries to candidates: the softmax of their cosines.

    Args:
        queries: `[..., q, d]` features.
        candidates: `[..., m, d]` features, e.g. of all positions of a level of the other view.
        temperature: cosines are divided by it.

    Returns:
        `[..., q, m]` float64, rows sum to 1.
    """
    cosines = _direction(queries) @ np.swapaxes(_direction(candidates), -1, -2)
    shares = np.exp((cosines - cosines.max(axis=-1, keepdims=True)) / temperature)
    return shares / shares.sum(axis=-1, keepdims=True)


def position_code(points: np.ndarray, crop_size: Size) -> np.ndarray:
    """Returns features that encode where a place lies in its view, and nothing of the image there.

    Args:
        points: `[..., 3]` z, y, x, voxels of the view.
        crop_size: (z, y, x) voxels of the view.

    Returns:
        `[..., 24]` sines and cosines along each axis, with half, one, two and four periods a view.
    """
    places = (np.asarray(points, np.float64) + 0.5) / np.asarray(crop_size) * 2 - 1
    angles = places[..., None] * (np.array([0.5, 1, 2, 4]) * np.pi)
    waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return waves.reshape(*waves.shape[:-3], -1)


def matching_error_voxels(
    attention: np.ndarray,
    positions: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray | None = None,
) -> float:
    """Returns the mean distance between expected and true position of queries in the other view.

    Args:
        attention: `[..., q, m]` share of each candidate, rows sum to 1; from `soft_argmax` or a
            matcher.
        positions: `[..., m, 3]` z, y, x of the candidates, voxels of the input.
        truth: `[..., q, 3]` true z, y, x, voxels of the input.
        valid: `[..., q]` bool, False for queries whose tissue the other view lacks, which are left
            out. None keeps all.

    Returns:
        Mean Euclidean distance in voxels of the input (a section counts like a pixel); NaN
        without any query.
    """
    expected = np.asarray(attention, np.float64) @ np.asarray(positions, np.float64)
    distances = np.linalg.norm(expected - truth, axis=-1)
    if valid is not None:
        distances = distances[np.broadcast_to(valid, distances.shape)]
    return float(distances.mean()) if distances.size else float("nan")


# Cosines this close are a tie: it exceeds rounding errors in float64, and is less than any real
# difference of float32 features.
_TIE = 1e-9


def _direction(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.maximum(length, 1e-12)
