"""Small volumes on disk, whose labels are a function of the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from emjax.data.normalization import Normalization
from emjax.data.opening import OpenedEntry, open_entries


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, np.ndarray], str]:
    """Writes an array as zarr and returns its address."""

    def write_array(name: str, voxels: np.ndarray) -> str:
        # Chunks of zeros too: an array without any is refused.
        array = zarr.create_array(
            tmp_path / name,
            data=voxels,
            chunks=(4, 8, 8),
            config={"write_empty_chunks": True},
        )
        array.attrs["resolution"] = [40, 8, 8]
        return str(tmp_path / name)

    return write_array


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Makes uint8 noise of a shape."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    return make


@pytest.fixture
def open_plain() -> Callable[..., list[OpenedEntry]]:
    """Opens entries whose images stay as they are stored."""

    def opened(volumes: str, **options: str) -> list[OpenedEntry]:
        entries = open_entries(volumes, **options)
        return [dataclasses.replace(e, normalization=Normalization(0, 255)) for e in entries]

    return opened
