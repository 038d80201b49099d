"""What a network sees in each candidate, as one vector: the features by which candidates are alike or differ."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emjax.annotation.candidates import Candidates, windows_in
from emjax.blocks.work import BlockWork, Parts
from emjax.config import plain
from emjax.data.normalization import Normalization, known_rule, measure
from emjax.geometry.box import Box
from emjax.geometry.grid import Block
from emjax.geometry.sizes import Size
from emjax.inference.predictor import default_batch_size
from emjax.jobs.predict.voxel_size import TRAINED, VoxelSize, choose_voxel_size
from emjax.models.backbone import Backbone
from emjax.models.build import apply
from emjax.parallel.compile import jit
from emjax.parallel.mesh import batch_sharding, make_mesh, replicated
from emjax.tasks.build import build_pretrain, build_segment
from emjax.train.weights import Weights
from emjax.volumes.volume import Volume


class FeatureNetwork:
    """A network that describes windows of one volume.

    Attributes:
        volume: the images.
        voxel_size: that the network sees.
        normalization: of the images.
        window: (z, y, x) voxels that it sees at once.
    """

    def __init__(self, weights: Weights, name: str, volume: Volume) -> None:
        """Measures the contrast of the images; compiles nothing yet.

        Args:
            weights: of a pretraining or a finetuning.
            name: of its checkpoint, for messages.
            volume: the images.

        Raises:
            InputError: if the network cannot be built, or not be applied to the volume.
        """
        spec = weights.spec
        build = build_segment if "targets" in spec.config else build_pretrain
        task = build(spec.config)
        self.volume, self.window = volume, task.crop_size
        self.voxel_size: VoxelSize = choose_voxel_size(
            volume, spec, name, at=TRAINED, resample=True
        )
        rule = known_rule(plain(spec.normalization), name)
        self.normalization: Normalization = measure(volume, rule)
        self._mesh = mesh = make_mesh(
            {"data": -1, "fsdp": 1, "spatial": 1}, devices=jax.local_devices()
        )
        self._batch_size = default_batch_size(self.window, mesh)
        self._params = jax.device_put(weights.params["backbone"], replicated(mesh))
        backbone = task.backbone

        def describe_windows(params: Any, windows: jax.Array) -> jax.Array:
            return describe(backbone, params, windows.astype(jnp.float32) / 255)

        everywhere = replicated(mesh)
        self._describe = jit(
            describe_windows,
            in_shardings=(everywhere, batch_sharding(mesh)),
            out_shardings=everywhere,
        )

    @property
    def stored_window(self) -> Size:
        """About how many stored voxels it sees at once, (z, y, x)."""
        resampling = self.voxel_size.resampling
        scale = resampling.scale if resampling else (1.0, 1.0, 1.0)
        return tuple(max(1, round(n * s)) for n, s in zip(self.window, scale, strict=True))

    def seen(self, box: Box) -> Box:
        """Returns a box of stored voxels in voxels that the network sees."""
        resampling = self.voxel_size.resampling
        return resampling.cover(box) if resampling else box

    def read(self, seen: Box) -> np.ndarray:
        """Reads a window, `[z, y, x]` uint8; what lies beyond a small volume is its mirror image."""
        whole = Box((0, 0, 0), self.voxel_size.seen_size)
        inside = seen.clip(whole)
        voxels = self.volume.read(self.voxel_size.reads(inside))
        image = self.voxel_size.see(self.normalization.apply(voxels), inside)
        lacking = [(0, n - s) for n, s in zip(seen.size, image.shape, strict=True)]
        return np.pad(image, lacking, mode="symmetric")

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Returns the features of windows.

        Args:
            windows: `[n, z, y, x]` uint8.

        Returns:
            `[n, d]` float32.
        """
        found = []
        for first in range(0, len(windows), self._batch_size):
            batch = windows[first : first + self._batch_size]
            # One shape for all batches, so that one program is compiled.
            rows = np.concatenate(
                [batch, np.repeat(batch[-1:], self._batch_size - len(batch), axis=0)]
            )
            with jax.set_mesh(self._mesh):
                found.append(np.asarray(self._describe(self._params, rows))[: len(batch)])
        return np.concatenate(found)


def describe(backbone: Backbone, params: Any, windows: jax.Array) -> jax.Array:
    """Returns means and standard deviations of a network's maps over each window, of all levels.

    Means alone would not tell one large dark body from many small ones. Our choice.

    Args:
        backbone: the network.
        params: its parameters.
        windows: `[n, z, y, x]` float32 in [0, 1].

    Returns:
        `[n, d]` float32.
    """
    found = apply(backbone, params, windows[..., None])
    parts = []
    for level in (*found["pyramid"], found["centre"]):
        values = level.astype(jnp.float32)
        parts += [values.mean(axis=(1, 2, 3)), values.std(axis=(1, 2, 3))]
    return jnp.concatenate(parts, axis=-1)


@dataclasses.dataclass(frozen=True)
class DescribeCandidates(BlockWork):
    """Describes the candidates of a block that are wanted.

    Never leaves this process, which drives the devices.

    Attributes:
        candidates: all of them.
        wanted: `[n]` bool, which of them.
        network: that describes windows.
        windows: most windows of a candidate; its features are the mean over them.
        folder: of the parts.
    """

    candidates: Candidates
    wanted: np.ndarray
    network: FeatureNetwork
    windows: int
    folder: str

    @property
    def sink(self) -> Parts:
        """Sink that writes the parts."""
        return Parts(self.folder)

    def compute(self, block: Block, *voxels: np.ndarray) -> dict[str, np.ndarray]:
        """Returns `indices` and `features` of the wanted candidates of a block."""
        found = [c for c in self.candidates.within(block) if self.wanted[c.index]]
        windows = [self._windows(candidate.core) for candidate in found]
        # Those of all candidates together, which fill the network's batches.
        read = np.stack([self.network.read(box) for boxes in windows for box in boxes])
        firsts = np.cumsum([0, *(len(boxes) for boxes in windows[:-1])])
        counts = np.asarray([len(boxes) for boxes in windows])
        features = np.add.reduceat(self.network(read), firsts, axis=0) / counts[:, None]
        return {
            "indices": np.asarray([candidate.index for candidate in found], np.int64),
            "features": features.astype(np.float32),
        }

    def _windows(self, core: Box) -> list[Box]:
        size: Size = self.network.voxel_size.seen_size
        return windows_in(self.network.seen(core), self.network.window, size, self.windows)
