"""`synthetic://`: endless EM-like volumes with true labels, made where and when they are read.

The value of a voxel depends on the seed and on the position of the voxel alone: any crop can be
made without the rest and equals the same part of every larger crop, bit for bit. The same seed at
another voxel size shows the same tissue.

Labels are ids that are unique over the endless volume (uint64). `neurons`: the voxels whose
centres lie in the territory of a neurite, up to the middle of the cleft that parts it from its
neighbour, its own membrane included; 0 only in wide extracellular pockets and in myelin.
`mitochondria`: one id each, 0 elsewhere. `clefts`: one id a synapse, a disc about 44 nm thick
between the two membranes, 0 elsewhere. Labels follow a slipped or folded section, as a person
would draw them on it, and continue through missing and repeated sections as if these were intact.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorstore as ts
from absl import logging

from emjax.compiled import is_kept
from emjax.errors import InputError
from emjax.geometry.sizes import Size, Triple
from emjax.volumes.generator import defects as _defects
from emjax.volumes.generator import lookup as _lookup
from emjax.volumes.generator import noise as _noise
from emjax.volumes.generator import texture as _texture

# Longest side of the pieces that are made at once. Growing the tissue around a piece costs as much as painting
# half a million of its voxels: small pieces are mostly overhead, large ones leave other cores idle.
CHUNK_NM = (1280.0, 1600.0, 1600.0)
CACHE_BYTES = 256 << 20
_LABELS = {
    "": _texture.IMAGE,
    "neurons": _texture.NEURONS,
    "mitochondria": _texture.MITOCHONDRIA,
    "clefts": _texture.CLEFTS,
}
_DEFAULTS = {
    "shape": "64,256,256",
    "seed": "0",
    "labels": "",
    "voxel_nm": "40,8,8",
    "defects": "1",
}
_CARRIED = ("level", "weight", "group")  # keys of every address, read by others


@dataclass(frozen=True)
class Neurites:
    """A synthetic volume.

    Attributes:
        shape: voxels, z, y, x.
        seed: seed of the tissue.
        labels: '', 'neurons', 'mitochondria' or 'clefts'; '' is the image.
        voxel_nm: size of a voxel, z, y, x.
        defects: whether sections may be damaged.
    """

    shape: Size = (64, 256, 256)
    seed: int = 0
    labels: str = ""
    voxel_nm: Triple = (40.0, 8.0, 8.0)
    defects: bool = True

    @property
    def dtype(self) -> np.dtype:
        """Voxel type: uint8 for the image, uint64 for labels."""
        return np.dtype(np.uint64 if self.labels else np.uint8)

    def make(self, start: Size, size: Size) -> np.ndarray:
        """Make one crop.

        Args:
            start: first voxel, z, y, x; any integers, the tissue has no end.
            size: voxels, z, y, x.

        Returns:
            `[z, y, x]` uint8 or uint64.
        """
        result = np.empty(size, self.dtype)
        if result.size == 0:
            return result
        plans = [
            _defects.plan_section(self.seed, start[0] + z, self.voxel_nm[0], self.defects)
            for z in range(size[0])
        ]
        halos = [0 if self.labels else math.ceil(3.5 * plan.blur) for plan in plans]
        low, high = np.zeros(3), np.zeros(3)
        low[0] = (start[0] - 1) * self.voxel_nm[0]  # a repeated section shows the one before
        high[0] = (start[0] + size[0] + 1) * self.voxel_nm[0]
        # Shifts are bounded section by section; only damaged sections need a wide margin.
        quiet = all(not plan.damaged for plan in plans)
        aside = 60.0 if quiet else _defects.MAX_SHIFT_NM
        for axis in (1, 2):
            halo = max(halos) * self.voxel_nm[axis]
            low[axis] = start[axis] * self.voxel_nm[axis] - aside - halo
            high[axis] = (start[axis] + size[axis]) * self.voxel_nm[axis] + aside + halo
        tissue = _lookup.build_tissue(self.seed, low, high)
        for z, (plan, halo) in enumerate(zip(plans, halos, strict=True)):
            result[z] = self._section(plan, halo, start, size, tissue)
        return result

    def _section(
        self,
        plan: _defects.Section,
        halo: int,
        start: Size,
        size: Size,
        tissue: _lookup.Tissue,
    ) -> np.ndarray:
        thickness, voxel_y, voxel_x = self.voxel_nm
        what = _LABELS[self.labels]
        shape = (size[1] + 2 * halo, size[2] + 2 * halo)
        image = np.zeros(shape if not self.labels else (0, 0))
        labels = np.zeros(shape if self.labels else (0, 0), np.int64)
        shown = plan.index if self.labels else plan.source
        if self.labels or not plan.missing:
            _texture.paint(
                _noise.key_of(self.seed, 2), what, (shown + 0.5) * thickness, thickness,
                float(plan.index), _noise.key_of(self.seed, 32), *plan.shift_nm, plan.wobble_nm,
                plan.fold_nm, plan.fold_angle, start[1] - halo, start[2] - halo, voxel_y, voxel_x,
                tuple(tissue), image, labels,
            )  # fmt: skip
        if self.labels:
            return labels.astype(np.uint64)
        offsets = np.arange(-halo, halo + 1)
        weights = np.exp(-0.5 * (offsets / plan.blur) ** 2)
        image = _texture.blur_section(image, weights / weights.sum())
        return _texture.expose(
            _noise.key_of(self.seed, 33), plan.index, (plan.index + 0.5) * thickness, start[1],
            start[2], voxel_y, voxel_x, plan.gain, plan.offset, plan.noise, plan.missing, image,
        )  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    """The read function of the store; a plain object, so that it can be pickled."""

    volume: Neurites

    def __call__(
        self, domain: ts.IndexDomain, chunk: np.ndarray, _: ts.VirtualChunkedReadParameters
    ) -> None:
        _announce()
        chunk[...] = self.volume.make(domain.origin, domain.shape)


@functools.cache
def _announce() -> None:
    """Says once what the first piece waits for."""
    if not is_kept(_texture.paint):
        logging.info("compiling what makes synthetic tissue: half a minute, once on this machine")


def _numbers(name: str, text: str, kind: type) -> tuple:
    try:
        values = tuple(kind(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(math.isfinite(v) and v > 0 for v in values):
        raise InputError(
            f"synthetic://: {name}={text} is not three positive numbers z,y,x; "
            f"write for example {name}={_DEFAULTS[name]}"
        )
    return values


def parse(name: str, keys: Mapping[str, str]) -> Neurites:
    """Read the name and the keys of a `synthetic://` address.

    Args:
        name: what follows `synthetic://`; only `neurites` exists.
        keys: shape, seed, labels, voxel_nm, defects.

    Returns:
        The volume.

    Raises:
        InputError: unknown name, key or value.
    """
    if name.strip("/") != "neurites":
        raise InputError(f"synthetic://{name} does not exist; there is only synthetic://neurites")
    for key in keys:
        if key not in _DEFAULTS and key not in _CARRIED:
            near = difflib.get_close_matches(key, _DEFAULTS, 1)
            hint = f"did you mean {near[0]}?" if near else "drop it"
            raise InputError(
                f"synthetic://neurites has no key {key}; it has {', '.join(_DEFAULTS)}; {hint}"
            )
    text = {**_DEFAULTS, **keys}
    if text["labels"] not in _LABELS:
        raise InputError(
            f"synthetic://neurites: labels={text['labels']} is unknown; "
            "use neurons, mitochondria or clefts, or leave labels out for the image"
        )
    if text["defects"] not in ("0", "1"):
        raise InputError(f"synthetic://neurites: defects={text['defects']} must be 0 or 1")
    try:
        seed = int(text["seed"])
    except ValueError:
        raise InputError(
            f"synthetic://neurites: seed={text['seed']} must be an integer, such as seed=0"
        ) from None
    return Neurites(
        shape=_numbers("shape", text["shape"], int),
        seed=seed,
        labels=text["labels"],
        voxel_nm=_numbers("voxel_nm", text["voxel_nm"], float),
        defects=text["defects"] == "1",
    )


def _chunk(volume: Neurites) -> tuple[int, ...]:
    """Voxels z, y, x that are made at once: equal parts, since a last one of a few voxels costs nearly a whole one."""
    lengths = []
    for size, side, nm in zip(volume.shape, CHUNK_NM, volume.voxel_nm, strict=True):
        parts = math.ceil(size / max(1, math.floor(side / nm)))
        lengths.append(math.ceil(size / parts))
    return tuple(lengths)


@functools.cache
def _own_context() -> ts.Context:
    return ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})


def open_synthetic(
    name: str, keys: Mapping[str, str], *, context: ts.Context | None = None
) -> tuple[ts.TensorStore, Triple]:
    """Open a synthetic volume.

    Args:
        name: what follows `synthetic://`.
        keys: keys of the address, see `parse`.
        context: tensorstore context whose cache keeps the pieces made; by default one of 256 MiB
            shared by all synthetic volumes of the process.

    Returns:
        A store `[z, y, x]`, and the size of a voxel in nm.

    Raises:
        InputError: unknown name, key or value.
    """
    volume = parse(name, keys)
    store = ts.virtual_chunked(
        _Reader(volume),
        dtype=volume.dtype,
        shape=volume.shape,
        chunk_layout=ts.ChunkLayout(read_chunk_shape=_chunk(volume)),
        dimension_units=[f"{nm} nm" for nm in volume.voxel_nm],
        context=context or _own_context(),
    )
    return store, volume.voxel_nm
