"""Test-time variants: mirrored and transposed tiles, whose predictions are mapped back and averaged.

An affinity has a direction. What the network predicts on a mirrored tile as the affinity to the voxel before is, mapped
back, the affinity to the voxel behind, which by convention is stored at another voxel. So on flipped axes the values
move by their offset, and a transposition exchanges channels; averaging without this would blur every boundary.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from emjax.errors import InputError
from emjax.geometry.sizes import Size

Offsets = Sequence[Size | None]
COUNTS = (1, 4, 8, 16)


@dataclasses.dataclass(frozen=True)
class Variant:
    """One of the 16 symmetries of a tile: first flips, then the transposition of y and x.

    Attributes:
        flips: whether each of z, y, x is mirrored.
        transpose: whether y and x are exchanged.
    """

    flips: tuple[bool, bool, bool] = (False, False, False)
    transpose: bool = False

    def forward(self, images: jax.Array) -> jax.Array:
        """Turns tiles into this variant of them.

        Args:
            images: tiles `[..., z, y, x]`; y and x must be equally long for a transposition.
        """
        images = self._flip(images, first=images.ndim - 3)
        return jnp.swapaxes(images, -1, -2) if self.transpose else images

    def inverse(self, predictions: jax.Array, offsets: Offsets) -> jax.Array:
        """Maps predictions of the variant back onto the tiles.

        Args:
            predictions: `[..., z, y, x, c]` predictions of the tiles that `forward` made.
            offsets: (z, y, x) offset of each channel that is an affinity, None for any other.

        Returns:
            `[..., z, y, x, c]` predictions of the original tiles; 0 where `weight` is 0.
        """
        if self.transpose:
            predictions = jnp.swapaxes(predictions, -2, -3)
        predictions = self._flip(predictions, first=predictions.ndim - 4)
        channels = []
        for offset, (source, moved) in zip(offsets, self._sources(offsets), strict=True):
            if source is None:
                channel = jnp.zeros_like(predictions[..., 0])
            else:
                channel = predictions[..., source]
            channels.append(_move(channel, offset) if moved and offset else channel)
        return jnp.stack(channels, axis=-1)

    def weight(self, size: Size, offsets: Offsets) -> np.ndarray:
        """Returns where `inverse` gives a prediction.

        Args:
            size: (z, y, x) voxels of a tile.
            offsets: as in `inverse`.

        Returns:
            `[z, y, x, c]` float32: 1 where there is a prediction; 0 where the other voxel of a moved affinity lies
            outside the tile, or no channel of the variant corresponds to this one.
        """
        weight = np.ones((*size, len(offsets)), np.float32)
        for channel, (offset, (source, moved)) in enumerate(
            zip(offsets, self._sources(offsets), strict=True)
        ):
            if source is None:
                weight[..., channel] = 0
            elif moved and offset:
                for axis, (length, shift) in enumerate(zip(size, offset, strict=True)):
                    partner = np.arange(length) + shift
                    seen = (partner >= 0) & (partner < length)
                    shape = [1, 1, 1]
                    shape[axis] = length
                    weight[..., channel] *= seen.reshape(shape)
        return weight

    def _sources(self, offsets: Offsets) -> list[tuple[int | None, bool]]:
        """Returns for each channel the variant's channel that gives it, if any, and whether it moves by the offset."""
        mapped = [self._map(offset) if offset else None for offset in offsets]
        found: list[tuple[int | None, bool]] = []
        for channel, offset in enumerate(offsets):
            if offset is None:
                found.append((channel, False))
                continue
            opposite = tuple(-o for o in offset)
            same = [i for i, other in enumerate(mapped) if other == tuple(offset)]
            turned = [i for i, other in enumerate(mapped) if other == opposite]
            if same:
                found.append((channel if channel in same else same[0], False))
            elif turned:
                found.append((channel if channel in turned else turned[0], True))
            else:
                found.append((None, False))
        return found

    def _map(self, offset: Size) -> Size:
        """Returns the offset on the tile that corresponds to an offset on the variant."""
        z, y, x = offset
        turned = (z, x, y) if self.transpose else (z, y, x)
        return tuple(-o if flip else o for o, flip in zip(turned, self.flips, strict=True))

    def _flip(self, array: jax.Array, first: int) -> jax.Array:
        axes = [first + axis for axis, flip in enumerate(self.flips) if flip]
        return jnp.flip(array, axes) if axes else array


def make_variants(count: int, tile_size: Size) -> tuple[Variant, ...]:
    """Returns a set of variants, the unchanged tile first.

    Args:
        count: number of variants: 1; 4: flips of y and x; 8: also flips of z; 16: also transpositions of y and x.
        tile_size: (z, y, x) voxels of a tile.

    Raises:
        InputError: if there is no such set, or the tile is not square in y and x although 16 variants need it.
    """
    if count not in COUNTS:
        raise InputError(f"variants={count} must be one of {', '.join(map(str, COUNTS))}")
    if count == 16 and tile_size[1] != tile_size[2]:
        raise InputError(
            f"variants=16 transposes y and x, which needs square tiles, not {tuple(tile_size)}; use variants=8 or "
            "another tile_size"
        )
    flip = (False, True)
    in_z = flip if count >= 8 else (False,)
    transposed = flip if count == 16 else (False,)
    # With a count of 1, no axis is flipped.
    in_plane = flip if count > 1 else (False,)
    return tuple(
        Variant((z, y, x), t)
        for t, z, y, x in itertools.product(transposed, in_z, in_plane, in_plane)
    )


def _move(channel: jax.Array, offset: Size) -> jax.Array:
    """Returns `[..., z, y, x]` whose voxel p has the value of voxel p + offset, or 0 where that lies outside."""
    first = channel.ndim - 3
    before = [(0, 0)] * channel.ndim
    part = [slice(None)] * channel.ndim
    for axis, shift in enumerate(offset):
        length = channel.shape[first + axis]
        shift = max(-length, min(length, shift))
        before[first + axis] = (max(-shift, 0), max(shift, 0))
        part[first + axis] = slice(max(shift, 0), length + min(shift, 0))
    return jnp.pad(channel[tuple(part)], before)
