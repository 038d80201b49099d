"""Pretraining as its job does it, of networks so small that a mesh of virtual devices trains them in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from emjax.command_line import load_config
from emjax.config import plain
from emjax.data.opening import open_entries
from emjax.parallel import compile as compile_module
from emjax.parallel.mesh import make_mesh
from emjax.runs.spec import RunSpec
from emjax.tasks.build import build_pretrain
from emjax.tasks.pretrain import Pretrain
from emjax.train.fit_result import FitResult
from emjax.train.loop import fit
from emjax.train.preparation import make_batches, make_crops, with_network
from emjax.train.run_folder import open_training_folder
from emjax.train.settings import TrainSettings

STEPS = 20
VOLUME = "synthetic://neurites?shape=8,64,64&voxel_nm=40,12,12"
MODELS: dict[str, dict[str, Any]] = {
    "unet": {
        "name": "unet",
        "widths": (4, 8),
        "kernels": ((3, 3, 3),),
        "strides": ((1, 2, 2),),
        "groups": 2,
    },
    "vit": {
        "name": "vit",
        "patch_size": (2, 4, 4),
        "width": 16,
        "depth": 2,
        "heads": 2,
        "head_width": 8,
        "mlp_width": 32,
        "taps": (0,),
        "decoder_widths": (8, 8),
        "decoder_strides": ((1, 2, 2), (2, 2, 2)),
        "skips": "none",
        "groups": 2,
    },
}


def settings(model: str, **overrides: Any) -> Any:
    """The smoke preset with a small crop; dotted names with '__' for dots."""
    c = load_config("configs/pretrain.py:smoke")
    c.data.volumes = VOLUME
    c.data.batch_size = 8
    c.data.crop_size = (2, 16, 16)
    c.augment.max_offset = (1, 2, 2)
    c.loss.levels = (0,)
    c.loss.num_tokens = 8
    c.loss.size = 8
    c.loss.heads = 2
    # Large enough that a negative from another device shows in the loss.
    c.loss.contrastive = 0.5
    c.loss.cross = 0.5
    c.num_steps = STEPS
    c.eval.every_steps = STEPS
    c.save.every_steps = STEPS
    c.log.every_steps = 5
    c.model = type(c)({**MODELS[model], "dtype": "float32"})
    for name, value in overrides.items():
        group, _, key = name.rpartition("__")
        (c[group] if group else c)[key] = value
    return c


def compile_quickly(change: Callable[[Any, str, Any], None]) -> None:
    """Leaves out what takes the compiler long and has nothing to do with devices.

    Args:
        change: as `setattr`.
    """
    # Only results matter here, not speed.
    options = compile_module.cpu_compiler_options() | {"xla_backend_optimization_level": 0}
    change(compile_module, "cpu_compiler_options", lambda: options)
    # The degradations of the views.
    views, clean = Pretrain.views, ("clean", "clean")
    change(Pretrain, "views", lambda task, key, windows, _=None: views(task, key, windows, clean))


class Recorded:
    """A loader that remembers which examples it gave; stops before a batch, as a machine that is switched off does."""

    def __init__(self, batches: Any, stop_at: int = -1) -> None:
        self._batches = batches
        self._stop_at = stop_at
        self.examples: list[list[int]] = []

    def __next__(self) -> dict[str, np.ndarray]:
        if self._batches.next_batch == self._stop_at:
            raise KeyboardInterrupt
        rows = next(self._batches)
        self.examples.append(rows["index"].tolist())
        return rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)


def train(
    config: Any, folder: Path, mesh_sizes: tuple[int, int, int], stop_at: int = -1
) -> tuple[FitResult | None, list[list[int]]]:
    """Trains on the first devices; returns the result, None where it was stopped, and this process's examples."""
    names = ("data", "fsdp", "spatial")
    devices = None
    if jax.process_count() == 1:
        devices = jax.devices()[: int(np.prod(mesh_sizes))]
    mesh = make_mesh(dict(zip(names, mesh_sizes, strict=True)), devices)
    values = with_network(plain(config), (40, 12, 12))
    task = build_pretrain(values)
    settings = TrainSettings.from_config(config)
    entries = open_entries(config.data.volumes)
    crops = make_crops(settings.data, entries, task.window_size, seed=config.seed)
    batches = Recorded(make_batches(settings.data, crops), stop_at)
    result = None
    try:
        spec = RunSpec(job="pretrain", config=values, volumes=(VOLUME,))
        opened = open_training_folder(folder, config)
        result = fit(task, batches, settings, opened, mesh=mesh, run_spec=spec)
    except KeyboardInterrupt:
        pass
    finally:
        batches.close()
    return result, batches.examples


# Sums over devices are made in another order. The first step shows it alone; later ones also that Adam enlarges the
# difference. A negative that is missing, or a row that is seen twice, changes the first loss by more than 1e-2.
FIRST_TOLERANCE = 1e-5
TOLERANCE = 1e-3


def assert_same_losses(found: np.ndarray, expected: np.ndarray) -> None:
    assert len(found) == len(expected) == STEPS
    np.testing.assert_allclose(found[0], expected[0], rtol=FIRST_TOLERANCE)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)


def losses(folder: Path) -> np.ndarray:
    """The loss of each step, from the record of a run."""
    lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array([loss for line in lines for loss in line.get("losses", [])])
