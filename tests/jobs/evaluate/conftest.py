"""The volumes that tests of single scores share."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from .material import CREMI_BACKGROUND, SHAPE


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Labels, a segmentation that merges two and cuts one of them, and what is neither."""
    path = tmp_path_factory.mktemp("volumes") / "a.h5"
    z, y, x = np.indices(SHAPE)
    labels = ((y // 10) * 10 + x // 12 + 1).astype(np.uint64) << np.uint64(40)
    labels[:, 0] = 0
    segments = labels.copy()
    segments[labels == labels[0, 5, 0]] = labels[0, 5, 15]
    segments[:3][labels[:3] == labels[0, 35, 40]] += np.uint64(1)
    with h5py.File(path, "w") as file:
        file["labels"], file["segments"] = labels, segments
        file["raw"] = (128 + 60 * np.sin(y + x) + 20 * np.cos(z)).astype(np.uint8)
        file["floats"] = labels.astype(np.float32)
        file["mask"] = (x < 24).astype(np.uint8)
        file["channels"] = np.zeros((2, *SHAPE), np.uint8)
        file["negative"] = -labels.astype(np.int64)
        clefts, moved = (np.full(SHAPE, CREMI_BACKGROUND, np.uint64) for _ in range(2))
        clefts[1:5, 10:15, 8:13], moved[1:5, 12:17, 8:13] = 3, 3
        file["clefts"], file["moved"] = clefts, (moved == 3).astype(np.uint8)
        file["none"] = np.zeros(SHAPE, np.uint8)
        file["classes"] = (x // 16).astype(np.uint8)
        file["other_classes"] = ((x + 4) // 16).astype(np.uint8)
    return path
