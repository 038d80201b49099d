"""The checkpoint and the image that the tests of a prediction share, and the devices that they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from .material import write_material


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    write_material(folder)
    return folder


@pytest.fixture(scope="module")
def two_devices() -> Iterator[None]:
    """Of the eight that tests have: compiling for all takes longer than the rest.

    The same for all tests: how many tiles a device has at once changes the rounding of a convolution.
    """
    with pytest.MonkeyPatch.context() as patch:
        devices = jax.devices()[:2]
        patch.setattr(jax, "local_devices", lambda: devices)
        yield
