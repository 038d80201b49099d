"""A task, a loader and a configuration small enough to train in a test."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from emjax.config import base_config
from emjax.parallel.mesh import check_batch_size, make_mesh
from emjax.runs.spec import RunSpec
from emjax.train.fit_result import FitResult
from emjax.train.judge import Evaluation
from emjax.train.loop import fit
from emjax.train.run_folder import open_training_folder
from emjax.train.settings import TrainSettings

CROP_SIZE = (2, 4, 4)
BATCH_SIZE = 4


@dataclasses.dataclass(frozen=True)
class ToyTask:
    """Linear regression with dropout on the voxels, so that the step's key matters."""

    width: int = 8

    def init(self, key: jax.Array) -> Any:
        encoder, head = jax.random.split(key)
        size = int(np.prod(CROP_SIZE))
        return {
            "backbone": {
                "encoder": {
                    "kernel": jax.random.normal(encoder, (size, self.width)) * 0.1,
                    "bias": jnp.zeros(self.width),
                },
                "head": {"kernel": jax.random.normal(head, (self.width, 1)) * 0.1},
            }
        }

    def loss(self, params: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        image = batch["image"].astype(jnp.float32).reshape(BATCH_SIZE, -1) / 255
        kept = jax.random.bernoulli(key, 0.7, image.shape)
        encoder, head = params["backbone"]["encoder"], params["backbone"]["head"]
        hidden = jnp.tanh((image * kept) @ encoder["kernel"] + encoder["bias"])
        error = (hidden @ head["kernel"])[:, 0] - image.mean(axis=1)
        # A batch whose first crop is marked is broken.
        loss = jnp.mean(error**2) + jnp.where(batch["index"][0] < 0, jnp.nan, 0.0)
        return loss, {"error": jnp.mean(jnp.abs(error))}


class ToyBatches:
    """Batch k is a function of k."""

    def __init__(self, broken: tuple[int, ...] = ()) -> None:
        self.next_batch = 0
        self._broken = broken

    def __next__(self) -> dict[str, np.ndarray]:
        number = self.next_batch
        self.next_batch += 1
        rng = np.random.Generator(np.random.Philox(key=[7, number]))
        sign = -1 if number in self._broken else 1
        return {
            "image": rng.integers(0, 256, (BATCH_SIZE, *CROP_SIZE), dtype=np.uint8),
            "index": sign * (np.arange(BATCH_SIZE, dtype=np.int32) + 1),
            "volume": np.zeros(BATCH_SIZE, np.int32),
            "start": np.full((BATCH_SIZE, 3), number, np.int32),
        }

    def get_state(self) -> dict[str, Any]:
        return {"next_batch": self.next_batch}

    def set_state(self, state: dict[str, Any]) -> None:
        self.next_batch = state["next_batch"]

    def queued(self) -> float:
        return 1.0


class Stopping(ToyBatches):
    """Raises when a batch is asked for, as a machine that is switched off does."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def __next__(self) -> dict[str, np.ndarray]:
        if self.next_batch == self._at:
            raise KeyboardInterrupt
        return super().__next__()


def norm_evaluator(params: Any, step: int) -> Evaluation:
    """A measure that is best at step 4, and an image."""
    del params
    image = np.zeros((4, 4, 3), np.uint8)
    return Evaluation({"score": -abs(step - 4.0)}, {"picture": image})


def toy_config(**overrides: Any) -> ConfigDict:
    """A run of 12 steps; dotted names with '__' for dots."""
    c = base_config("toy")
    c.num_steps = 12
    c.data.volumes = "synthetic://neurites"
    c.data.batch_size = BATCH_SIZE
    c.data.crop_size = CROP_SIZE
    c.optimizer.learning_rate = 0.05
    c.save.every_steps = 4
    c.eval.every_steps = 4
    c.log.every_steps = 3
    for name, value in overrides.items():
        group, _, key = name.rpartition("__")
        (c[group] if group else c)[key] = value
    return c


def toy_mesh(devices: int = 1, **sizes: int) -> Mesh:
    return make_mesh({"data": -1, "fsdp": 1, "spatial": 1} | sizes, jax.devices()[:devices])


def run_toy(
    config: ConfigDict, workdir: Path, batches: Any = None, mesh: Mesh | None = None, **more: Any
) -> FitResult:
    settings, mesh = TrainSettings.from_config(config), mesh or toy_mesh()
    check_batch_size(settings.data.batch_size, mesh)
    return fit(
        more.pop("task", ToyTask()),
        batches or ToyBatches(),
        settings,
        open_training_folder(workdir, config),
        mesh=mesh,
        run_spec=RunSpec(job="toy", config=config.to_dict(), volumes=("a.h5",)),
        **more,
    )


def same(a: Any, b: Any) -> bool:
    """Whether two trees are equal to the last bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)
