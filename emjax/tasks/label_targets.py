"""What targets say of a box of stored labels, as the network is to predict it there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emjax.data.label_arrays import IGNORE, class_ids, dense_ids
from emjax.data.opening import OpenedEntry
from emjax.geometry.box import Box
from emjax.geometry.sizes import Size
from emjax.tasks.segment import Segment

# Voxels that widened borders reach, and one more.
_BORDER = 2


def targets_at(entry: OpenedEntry, task: Segment, core: Box) -> tuple[np.ndarray, np.ndarray]:
    """Returns the targets of a box of labels; they do not depend on the box, but for distances to far objects.

    Args:
        entry: image and labels.
        task: what makes targets of labels.
        core: in voxels of the entry's image.

    Returns:
        Values and mask, `[c, z, y, x]` float32 each, the channels of all targets.
    """
    halo = _halo(task)
    read = core.grow(halo)
    inside = read.clip(Box((0, 0, 0), entry.image.size))
    # One shape for all boxes of one size, so that one program is compiled.
    around = [
        (a - b, c - d)
        for a, b, c, d in zip(inside.start, read.start, read.stop, inside.stop, strict=True)
    ]
    labels = {
        kind: np.pad(array, around, constant_values=IGNORE)[None]
        for kind, array in _read_labels(entry, task, inside).items()
    }
    voxel_nm = np.asarray(entry.image.voxel_nm or (0, 0, 0), np.float32)[None]
    middle = (slice(None), *(slice(h, -h or None) for h in halo))
    values, masks = (np.asarray(part)[middle] for part in _compiled(task)(labels, voxel_nm))
    return values, masks


def _read_labels(entry: OpenedEntry, task: Segment, box: Box) -> dict[str, np.ndarray]:
    """Reads labels as the task's `make_targets` takes them, `[z, y, x]` int32."""
    mask = entry.mask.read(box) if entry.mask else None
    found = {}
    for name in task.label_names:
        part = entry.all_labels.get(name)
        kinds = ("labels", "classes") if task.uses_ids else ("labels",)
        arrays = {kind: np.full(box.size, IGNORE, np.int32) for kind in kinds}
        if part is not None:
            ids = part.volume.read(box)
            arrays["labels"] = dense_ids(ids, part.ids)
            if task.uses_ids:
                arrays["classes"] = class_ids(ids, part)
        for kind, array in arrays.items():
            if mask is not None:
                array = np.where(mask != 0, array, np.int32(IGNORE))
            found[f"{kind}.{name}" if name else kind] = array
    return found


def _halo(task: Segment) -> Size:
    """Returns how far around a box labels are read: as far as affinities reach, and borders are widened."""
    reach = np.abs([offset for offset in task.offsets if offset is not None] or [(0, 0, 0)])
    thick = max(getattr(target, "thickness", 0) for target in task.targets)
    return tuple((reach.max(axis=0) + thick + _BORDER).tolist())


@functools.lru_cache(maxsize=1)
def _compiled(task: Segment) -> Any:
    def make(labels: Mapping[str, jax.Array], voxel_nm: jax.Array) -> tuple[jax.Array, ...]:
        parts = task.make_targets(labels, voxel_nm)
        return tuple(jnp.moveaxis(jnp.concatenate(part, axis=-1)[0], -1, 0) for part in parts)

    return jax.jit(make)
