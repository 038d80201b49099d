"""The same training on every mesh: losses, parameters, and runs that go on elsewhere.

Compiling takes most of the time, so the transformer has the richest mesh alone here; `benchmarks/meshes.py` has all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from . import pretraining
from .toy import same

RUNS = [("unet", mesh) for mesh in [(8, 1, 1), (2, 2, 2), (1, 8, 1), (1, 1, 4)]]
RUNS += [("vit", (2, 2, 2))]


@pytest.fixture(scope="module", autouse=True)
def compile_quickly():
    with pytest.MonkeyPatch.context() as patch:
        pretraining.compile_quickly(patch.setattr)
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Callable[[str], tuple[np.ndarray, list]]:
    """Losses and parameters of a run on one device, by the network's name."""

    @functools.cache
    def run(model: str) -> tuple[np.ndarray, list]:
        folder = tmp_path_factory.mktemp(model)
        result, _ = pretraining.train(pretraining.settings(model), folder, (1, 1, 1))
        assert result is not None
        return pretraining.losses(folder), jax.tree.leaves(result.params)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("model", "mesh"), RUNS, ids=str)
def test_every_mesh_has_the_same_losses(straight, model, mesh, tmp_path):
    expected, _ = straight(model)
    pretraining.train(pretraining.settings(model), tmp_path, mesh)
    assert expected[-1] < expected[0]
    pretraining.assert_same_losses(pretraining.losses(tmp_path), expected)


@pytest.mark.slow
def test_a_run_goes_on_exactly_and_on_fewer_devices(straight, tmp_path):
    """20 steps; and 8, killed, then 12 on the same device, or 8 on eight devices, then 12 on two."""
    expected, params = straight("unet")
    config = pretraining.settings("unet", save__every_steps=4)

    def stopped_and_continued(name: str, before: tuple, after: tuple) -> tuple[Path, list]:
        pretraining.train(config, tmp_path / name, before, stop_at=9)
        result, examples = pretraining.train(config, tmp_path / name, after)
        # From the last checkpoint on, with the examples that come next.
        assert result is not None and examples[0] == list(range(64, 72)) and len(examples) >= 12
        return tmp_path / name, jax.tree.leaves(result.params)

    folder, again = stopped_and_continued("same", (1, 1, 1), (1, 1, 1))
    assert same(params, again)
    np.testing.assert_array_equal(pretraining.losses(folder), expected)
    folder, _ = stopped_and_continued("fewer", (2, 2, 2), (2, 1, 1))
    pretraining.assert_same_losses(pretraining.losses(folder), expected)
