"""Serves volumes to neuroglancer chunk by chunk, from the pyramid level that suits each request."""

from __future__ import annotations

import neuroglancer
import numpy as np
import tensorstore as ts
from absl import logging
from neuroglancer.downsample_scales import (
    DEFAULT_MAX_DOWNSAMPLING,
    compute_near_isotropic_downsampling_scales,
)
from neuroglancer.local_volume import LocalVolume, MeshesNotSupportedForVolume

from emjax.errors import reason
from emjax.geometry.sizes import Size
from emjax.viewing.layers import LABELS, Layer
from emjax.viewing.levels import best_level, find_levels

# Types of voxels that the page cannot draw -> types that they are converted to.
_DRAWN_AS = {"bool": "uint8", "int64": "uint64", "float16": "float32", "float64": "float32"}
# Most voxels of a volume with meshes, which are made of all voxels at once and need about five times their memory.
_MESHED_VOXELS = 1 << 24


class ServedVolume(LocalVolume):
    """The voxels of a layer, which are read only when the page asks for them.

    Args:
        layer: layer to serve.
        unit: unit of its voxel size: 'nm', or '' if lengths are in voxels.
    """

    def __init__(self, layer: Layer, unit: str) -> None:
        self._name, self._said = layer.name, False
        self._levels = find_levels(layer.volume)
        leading = len(layer.volume.shape) - 3
        dimensions = neuroglancer.CoordinateSpace(
            # '^' makes all channels of a voxel reach the shader together.
            names=["c^"] * leading + ["z", "y", "x"],
            units=[""] * leading + [unit] * 3,
            scales=[1.0] * leading + list(layer.voxel_nm),
        )
        kind = "segmentation" if layer.kind == LABELS else "image"
        stores = [_drawable(level.store, layer.kind) for level in self._levels]
        coarsest = _coarsest_scale(
            layer.volume.size, layer.voxel_nm, [level.factor for level in self._levels]
        )
        super().__init__(
            stores[0], dimensions, volume_type=kind, max_downsampling=int(np.prod(coarsest))
        )
        # Shortest side of a voxel at the coarsest scale that the page may ask for, nm.
        self.coarsest_nm = min(f * nm for f, nm in zip(coarsest, layer.voxel_nm, strict=True))
        # Coarse levels lie at fractions of a voxel; the page understands these, but LocalVolume would round them.
        self.voxel_offset = np.asarray([0.0] * leading + list(layer.origin))
        self._by_level = [LocalVolume(store, dimensions, volume_type=kind) for store in stores]

    def get_encoded_subvolume(
        self, data_format: str, start: np.ndarray, end: np.ndarray, scale_key: str
    ) -> tuple[bytes, str]:
        """Answers a request of the page.

        Args:
            data_format: format that the page asked for.
            start: `[rank]` first voxel, in voxels of the scale.
            end: `[rank]` one past the last voxel.
            scale_key: numbers of voxels along each axis that are drawn as one, separated by ','.

        Returns:
            The encoded voxels and their content type.

        Raises:
            ValueError: if the voxels cannot be read; the server then answers with status 400.
        """
        wanted = tuple(int(f) for f in scale_key.split(","))
        index = best_level([level.factor for level in self._levels], wanted[-3:])
        factor = (1,) * (len(wanted) - 3) + self._levels[index].factor
        rest = ",".join(str(w // f) for w, f in zip(wanted, factor, strict=True))
        try:
            return self._by_level[index].get_encoded_subvolume(data_format, start, end, rest)
        except (ValueError, OSError, RuntimeError) as error:
            # Warn only once: many chunks of one damaged file would flood the terminal.
            if not self._said:
                self._said = True
                logging.warning(
                    "%s: a part cannot be read, others will not be named: %s",
                    self._name,
                    reason(error),
                )
            raise ValueError(reason(error)) from error

    def get_object_mesh(self, object_id: int) -> bytes:
        """Returns the mesh of an object's surface; only for small volumes, because the whole volume is read.

        Args:
            object_id: id of the object.

        Raises:
            MeshesNotSupportedForVolume: if the volume is too large, or of a type that the library cannot mesh.
        """
        if np.prod(self.shape) > _MESHED_VOXELS:
            raise MeshesNotSupportedForVolume
        return super().get_object_mesh(object_id)


def _drawable(store: ts.TensorStore, kind: str) -> ts.TensorStore:
    name = store.dtype.name
    # As float32, grey values of 64 bits lose nothing that can be seen.
    target = "float32" if kind != LABELS and name in ("int64", "uint64") else _DRAWN_AS.get(name)
    return ts.cast(store, ts.dtype(target)) if target else store


def _coarsest_scale(size: Size, voxel_nm: tuple[float, ...], factors: list[Size]) -> Size:
    """Returns the most voxels (z, y, x) that the page may draw as one, so that each request reads little."""
    coarsest = (1, 1, 1)
    scales = compute_near_isotropic_downsampling_scales(
        np.asarray(size),
        np.asarray(voxel_nm),
        [0, 1, 2],
        max_downsampling=float("inf"),  # pyright: ignore[reportArgumentType]  # no limit
    )
    for scale in scales:
        wanted = tuple(int(f) for f in scale)
        factor = factors[best_level(factors, wanted)]
        if np.prod(wanted) > DEFAULT_MAX_DOWNSAMPLING * np.prod(factor):
            break
        coarsest = wanted
    return coarsest
