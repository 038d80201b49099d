"""Objects that fill a small volume, and what a perfect network would predict of them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import variation_of_information

from emjax.segmentation.prediction import NEAREST, Prediction

LONG = (*NEAREST, (-2, 0, 0), (0, -5, 0), (0, 0, -5), (0, -5, -5))


@pytest.fixture(scope="session")
def bricks() -> np.ndarray:
    """Seven objects `[8, 24, 30]` without background, each at least 8 wide in the plane."""
    labels = np.zeros((8, 24, 30), np.uint64)
    labels[:4, :12, :14], labels[:4, :12, 14:], labels[:4, 12:] = 5, 9, 2
    labels[4:, :, :8], labels[4:, :10, 8:], labels[4:, 10:, 8:20], labels[4:, 10:, 20:] = (
        3,
        7,
        11,
        4,
    )
    return labels


@pytest.fixture(scope="session")
def perfect():
    """labels, offsets -> the prediction that is 1 where two voxels have the same id above 0."""

    def make(labels, offsets=NEAREST, dtype=np.float32):
        values = np.zeros((len(offsets), *labels.shape), np.float32)
        for channel, (dz, dy, dx) in enumerate(offsets):
            for z, y, x in np.ndindex(labels.shape):
                if min(z + dz, y + dy, x + dx) >= 0:
                    other = labels[z + dz, y + dy, x + dx]
                    values[channel, z, y, x] = labels[z, y, x] == other and other > 0
        scale = 255 if dtype == np.uint8 else 1
        stored = (values * scale).astype(dtype)
        return Prediction(stored, ("affinity",) * len(offsets), tuple(offsets))

    return make


@pytest.fixture(scope="session")
def noisy(bricks):
    """seed -> a prediction with long-range channels, from 0 to 1, that has nothing to do with any object."""

    def make(seed, offsets=LONG):
        values = np.random.default_rng(seed).random((len(offsets), *bricks.shape))
        return Prediction(values.astype(np.float32), ("affinity",) * len(offsets), tuple(offsets))

    return make


@pytest.fixture(scope="session")
def voi():
    """labels, segmentation -> variation of information in bits, over voxels with a label."""

    def score(labels, segmentation):
        known = labels > 0
        truth, found = labels[known].astype(np.int64), segmentation[known].astype(np.int64)
        # skimage builds tables as large as the largest id.
        truth, found = (np.unique(ids, return_inverse=True)[1].ravel() for ids in (truth, found))
        return float(sum(variation_of_information(truth, found)))

    return score
