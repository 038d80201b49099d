"""Ids of labels as devices take them: dense numbers of a window, or the ids of the file, both int32."""

from __future__ import annotations

import numpy as np

from emjax.data.opening import Labels
from emjax.errors import InputError
from emjax.volumes.label_ids import NONE_NAMED, LabelIds

# What targets leave out of losses.
IGNORE = -1


def dense_ids(labels: np.ndarray, label_ids: LabelIds = NONE_NAMED) -> np.ndarray:
    """Returns dense ids of a window as int32, since devices would silently wrap 64-bit ids."""
    # Only one id for each run along x has to be sorted: some 3 %, as objects are long (25 ms -> 1 ms for a crop).
    flat = labels.ravel()
    firsts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    ids, inverse = np.unique(flat[firsts], return_inverse=True)
    objects = label_ids.objects(ids)
    numbers = np.where(objects, np.cumsum(objects, dtype=np.int32), np.int32(0))
    numbers[label_ids.unknown(ids)] = IGNORE
    lengths = np.diff(firsts, append=flat.size)
    return np.repeat(numbers[inverse], lengths).reshape(labels.shape)


def class_ids(labels: np.ndarray, source: Labels) -> np.ndarray:
    """Returns the ids as they are stored, int32; 0 for background, -1 where nothing is known."""
    ids, inverse = np.unique(labels, return_inverse=True)
    objects = source.ids.objects(ids)
    largest = int(ids[objects].max()) if objects.any() else 0
    if largest > np.iinfo(np.int32).max:
        raise InputError(
            f"labels {source.volume.name} have the id {largest}; targets that name ids need ids below 2^31"
        )
    # All background becomes 0, since some background ids, such as the largest, do not fit into int32.
    values = np.where(objects, ids, 0).astype(np.int32)
    values[source.ids.unknown(ids)] = IGNORE
    return values[inverse].reshape(labels.shape)
