"""Predicts a block of a volume: runs tiles in batches on all devices, averages variants and blends tiles.

The voxels of a block go to the device once, and its finished prediction comes back once: cutting, averaging and
blending on the host would take several times as long as the network.
"""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Block, Cores
from emjax.geometry.sizes import Size
from emjax.inference.tiles import Tiling
from emjax.inference.variants import Variant
from emjax.parallel.compile import jit
from emjax.parallel.mesh import BATCH_AXES, batch_sharding, replicated

DTYPES = ("uint8", "float16")
# Number of batches given to the device before the results of the first are checked, to keep it busy.
_AHEAD = 2
# Voxels of the tiles that run together on a device: an accelerator needs many, a CPU's cache few.
_BATCH_VOXELS = {"cpu": 2**18}
_ACCELERATOR_VOXELS = 2**22


class Predictor:
    """Predicts blocks of one volume; may be called by several threads.

    Attributes:
        grid: grid of the blocks.
        tiling: places and weights of the tiles.
        batch_size: number of tiles that run together on all devices.
    """

    def __init__(
        self,
        predict: Callable[[Any, jax.Array], jax.Array],
        params: Any,
        tiling: Tiling,
        grid: Cores,
        *,
        variants: Sequence[Variant],
        batch_size: int,
        mesh: Mesh,
        dtype: str,
        on_tiles: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Puts the parameters on the devices; compiles nothing yet.

        Args:
            predict: pure function of parameters and tiles `[n, z, y, x]` float32 in [0, 1] -> predictions
                `[n, z, y, x, c]` in [0, 1].
            params: parameters of the network.
            tiling: tiles of the volume, with the offset of each channel.
            grid: grid of the blocks.
            variants: variants of each tile, the unchanged tile first.
            batch_size: number of tiles on all devices together; rounded up to a multiple of the devices.
            mesh: devices of this process.
            dtype: type of the result, 'uint8': 255 times the prediction, rounded; 'float16': the prediction.
            on_tiles: called with the number of tiles whenever some are done.
        """
        parts = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
        self.grid, self.tiling = grid, tiling
        self.batch_size = -(-batch_size // parts) * parts
        self._mesh, self._dtype, self._variants = mesh, dtype, tuple(variants)
        self._on_tiles = on_tiles
        self._buffer = tiling.buffer_size(grid)
        self._channels = len(tiling.offsets)
        self._params = jax.device_put(params, replicated(mesh))
        counts = sum(v.weight(tiling.tile_size, tiling.offsets) for v in self._variants)
        self._shares = jax.device_put(1 / counts, replicated(mesh))
        self._compile(predict)
        # Lets one thread go first, since threads that start together would compile the same programs twice.
        self._first = threading.Lock()
        self._compiled = False

    @property
    def block_bytes(self) -> int:
        """Bytes of device memory that a block needs besides the network: voxels, sums and results."""
        region, core = math.prod(self._buffer), math.prod(self.grid.core_size)
        return region * (2 + 4 * self._channels) + 6 * core * self._channels

    def reads(self, block: Block) -> Box:
        """Returns the box that is read for a block: all that its tiles cover, as far as the volume reaches."""
        return self.tiling.region(block.core).clip(Box((0, 0, 0), self.tiling.size))

    def __call__(self, read: Callable[[Box], np.ndarray], block: Block) -> np.ndarray:
        """Predicts the core of a block.

        Args:
            read: box in the volume -> `[z, y, x]` uint8, already normalized.
            block: a block of the grid.

        Returns:
            `[c, z, y, x]` prediction of the core, uint8 or float16.

        Raises:
            InputError: if a prediction is not finite (names block and tile), or the device has too little memory.
        """
        try:
            if self._compiled:
                return self._predict_block(read, block)
            with self._first:
                result = self._predict_block(read, block)
                self._compiled = True
                return result
        except RuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise InputError(
                f"the device has too little memory for {self.batch_size} tiles of {self.tiling.tile_size} together and "
                f"blocks of {self.grid.core_size}, each {self.block_bytes / 2**20:.0f} MiB; use a smaller batch_size, "
                "then a smaller block_size, and num_workers=1"
            ) from error

    def _predict_block(self, read: Callable[[Box], np.ndarray], block: Block) -> np.ndarray:
        tiling, everywhere = self.tiling, replicated(self._mesh)
        region = tiling.region(block.core)
        places = tiling.covering(block.core)
        with jax.set_mesh(self._mesh):
            voxels = jax.device_put(self._padded(read(self.reads(block)), region), everywhere)
            sums = self._zeros()
            waiting: collections.deque = collections.deque()
            for first in range(0, len(places), self.batch_size):
                batch = places[first : first + self.batch_size]
                starts, weights = self._arrange(batch, region)
                tiles = self._cut(voxels, starts)
                mean = self._average(tiles)
                sums, finite = self._blend(sums, mean, starts, *weights)
                waiting.append((batch, finite))
                if len(waiting) > _AHEAD:
                    self._check(block, *waiting.popleft())
            while waiting:
                self._check(block, *waiting.popleft())
            lead = np.subtract(block.core.start, region.start).astype(np.int32)
            result = np.asarray(self._finish(sums, lead))
        return result[(slice(None), *Box((0, 0, 0), block.core.size).slices)]

    def _average(self, tiles: jax.Array) -> jax.Array:
        """Returns the mean prediction over all variants; keeps only their sum in memory, never a stack."""
        if len(self._variants) == 1:
            return self._network(self._params, tiles)
        total = None
        for turn, back in zip(self._turn, self._back, strict=True):
            prediction = self._network(self._params, turn(tiles))
            total = back(prediction) if total is None else self._add(total, back(prediction))
        return self._scale(total, self._shares)

    def _compile(self, predict: Callable[[Any, jax.Array], jax.Array]) -> None:
        """Makes the functions to be compiled; each has one static shape for the whole run."""
        rows, everywhere = batch_sharding(self._mesh), replicated(self._mesh)
        tile, offsets, channels = self.tiling.tile_size, self.tiling.offsets, self._channels
        core = self.grid.core_size

        def cut(voxels: jax.Array, starts: jax.Array) -> jax.Array:
            tiles = jax.vmap(lambda start: jax.lax.dynamic_slice(voxels, start, tile))(starts)
            return tiles.astype(jnp.float32) / 255

        def network(params: Any, tiles: jax.Array) -> jax.Array:
            return predict(params, tiles).astype(jnp.float32)

        def blend(
            sums: jax.Array, mean: jax.Array, starts: jax.Array, *weights: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            # Every device adds all tiles in the order of the lattice, so that the sums depend neither on the blocks nor
            # on which device had which tile.
            mean = jax.lax.with_sharding_constraint(mean, everywhere)
            finite = jnp.isfinite(mean).all(axis=(1, 2, 3, 4))

            def add(row: jax.Array, sums: jax.Array) -> jax.Array:
                z, y, x = (w[row].T for w in weights)
                weighted = mean[row] * (z[:, None, None] * y[:, None] * x)
                start = (*starts[row], 0)
                old = jax.lax.dynamic_slice(sums, start, (*tile, channels))
                return jax.lax.dynamic_update_slice(sums, old + weighted, start)

            return jax.lax.fori_loop(0, mean.shape[0], add, sums), finite

        def finish(sums: jax.Array, lead: jax.Array) -> jax.Array:
            part = jax.lax.dynamic_slice(sums, (*lead, 0), (*core, channels))
            # Weights add up to 1 except for rounding.
            part = jnp.clip(jnp.moveaxis(part, -1, 0), 0, 1)
            if self._dtype == "uint8":
                return jnp.round(part * 255).astype(jnp.uint8)
            return part.astype(jnp.float16)

        shape = (*self._buffer, channels)
        self._zeros = jax.jit(lambda: jnp.zeros(shape, jnp.float32), out_shardings=everywhere)
        self._cut = jax.jit(cut, out_shardings=rows)
        self._network = jit(network, in_shardings=(everywhere, rows), out_shardings=rows)
        self._turn = [jax.jit(v.forward, out_shardings=rows) for v in self._variants]
        self._back = [
            jax.jit(lambda p, v=v: v.inverse(p, offsets), out_shardings=rows)
            for v in self._variants
        ]
        self._add = jax.jit(jnp.add, donate_argnums=0, out_shardings=rows)
        self._scale = jax.jit(jnp.multiply, donate_argnums=0, out_shardings=rows)
        self._blend = jax.jit(blend, donate_argnums=0, out_shardings=everywhere)
        self._finish = jax.jit(finish, out_shardings=everywhere)

    def _padded(self, voxels: np.ndarray, region: Box) -> np.ndarray:
        """Pads the voxels of a region: by mirroring beyond the volume's end, then with 0 to the buffer's size."""
        lacking = [(0, r - i) for r, i in zip(region.size, voxels.shape, strict=True)]
        voxels = np.pad(voxels, lacking, mode="symmetric")
        rest = [(0, b - r) for b, r in zip(self._buffer, region.size, strict=True)]
        return np.pad(voxels, rest)

    def _arrange(self, batch: list[Size], region: Box) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns the tiles' first voxels in the region, and their weights; surplus rows of the batch get weight 0."""
        places = np.array(batch + [batch[-1]] * (self.batch_size - len(batch)))
        starts = np.stack([s[places[:, a]] for a, s in enumerate(self.tiling.starts)], axis=1)
        weights = [w[places[:, axis]] for axis, w in enumerate(self.tiling.weights)]
        weights[0][len(batch) :] = 0
        return (starts - np.array(region.start)).astype(np.int32), weights

    def _check(self, block: Block, batch: list[Size], finite: jax.Array) -> None:
        bad = np.flatnonzero(~np.asarray(finite)[: len(batch)])
        if not len(bad):
            self._on_tiles(len(batch))
            return
        place = batch[bad[0]]
        start = tuple(int(s[i]) for s, i in zip(self.tiling.starts, place, strict=True))
        raise InputError(
            f"the prediction is not finite in block {block.index} {block.core}, in its tile "
            f"{Box(start, self.tiling.tile_size)}; nothing of the block was written. The checkpoint may have "
            "diverged, or its model.dtype is too narrow"
        )


def default_batch_size(tile_size: Size, mesh: Mesh) -> int:
    """Returns the default number of tiles that run together on all devices of a mesh.

    Args:
        tile_size: (z, y, x) voxels of a tile.
        mesh: devices of this process.
    """
    parts = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    voxels = _BATCH_VOXELS.get(jax.default_backend(), _ACCELERATOR_VOXELS)
    return parts * max(1, min(64, voxels // math.prod(tile_size)))
