"""The membrane probe: a linear classifier of features, fitted on one part of the data and scored on another.

It shows whether membranes can be read off the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from scipy import ndimage

from emjax.blocks.complete import refuse_incomplete
from emjax.data.normalization import measure
from emjax.errors import InputError
from emjax.evaluation.probe import linear_probe, membrane_target
from emjax.geometry.box import Box
from emjax.models.build import apply
from emjax.parallel.compile import jit
from emjax.parallel.mesh import replicated
from emjax.tasks.pretrain import Params, Pretrain
from emjax.tasks.tokens import read_level
from emjax.volumes.address import parse_volumes
from emjax.volumes.label_ids import LabelIds, is_one_of
from emjax.volumes.pairs import lay
from emjax.volumes.roles import IMAGE_KEYS, open_ids, refuse_idle_keys
from emjax.volumes.store import open_volume

_CROPS = 12
_POINTS = 1500
# Scales, in voxels, of the filters whose outputs replace the features when raw pixels are probed.
_SCALES = (0.0, 1.0, 2.0, 4.0)


class MembraneProbe:
    """A linear probe from features of clean crops, at random voxels, to whether a voxel is membrane.

    Args:
        task: the task whose backbone makes the features: all pyramid levels, read at the voxel.
        settings: the fields `probe_*` of `config.eval`.
        mesh: every process of the mesh gets the results.

    Raises:
        InputError: if the parts are not `image|labels`, are too small, or have no membrane.
    """

    def __init__(self, task: Pretrain, settings: Mapping[str, Any], *, mesh: Mesh) -> None:
        self._task = task
        self._parts = [
            self._load(settings, name, seed)
            for seed, name in enumerate(("probe_train", "probe_test"))
        ]
        self._features = jit(self._read, out_shardings=replicated(mesh))

    def __call__(self, params: Params) -> dict[str, float]:
        """Returns `probe_average_precision`, `probe_roc_auc` and `probe_f1` of the test part."""
        parts = [
            (np.concatenate([np.asarray(self._features(params, i, p)) for i, p in chunks]), labels)
            for chunks, labels in self._parts
        ]
        return _score(parts)

    def baselines(self) -> dict[str, float]:
        """Returns the same scores for raw pixels: the grey value, smoothed and its gradient at several scales."""
        parts = []
        for chunks, labels in self._parts:
            rows = [_filters(i[0], p[0]) for i, p in chunks]
            parts.append((np.concatenate(rows), labels))
        scores = _score(parts)
        positives = float(self._parts[1][1].mean())
        return {f"{name}_raw": value for name, value in scores.items()} | {
            "probe_average_precision_chance": positives
        }

    def _load(self, settings: Mapping[str, Any], name: str, seed: int) -> tuple[list, np.ndarray]:
        """Reads crops, with points in them and whether these are membrane."""
        entries = parse_volumes(settings[name])
        if len(entries) != 1 or entries[0].labels is None or entries[0].mask or entries[0].named:
            raise InputError(f"eval.{name}='{settings[name]}': give one image|labels, with boxes")
        image = open_volume(entries[0].image)
        labels = open_ids(entries[0].labels, f"eval.{name}: labels", ("kind", "ignore"))
        refuse_idle_keys(image.address, f"eval.{name}: image", IMAGE_KEYS)
        for address in (entries[0].image, entries[0].labels):
            refuse_incomplete(address, f"eval.{name}:", hint=False)
        size = self._task.crop_size
        needed = f"image and labels must be equal and hold a crop of {size}"
        try:
            laid = lay({"image": image, "labels": labels})
        except InputError as error:
            raise InputError(f"eval.{name}: {error}; {needed}") from error
        laid.log()
        image, labels = laid.volumes["image"], laid.volumes["labels"]
        if any(a < b for a, b in zip(image.size, size, strict=True)):
            raise InputError(f"eval.{name}: {needed}, but share {image.size} voxels")
        normalization = measure(image)
        rng = np.random.Generator(np.random.Philox(key=[1, seed]))
        chunks, targets = [], []
        for _ in range(_CROPS):
            start = tuple(
                int(rng.integers(a - b + 1)) for a, b in zip(image.size, size, strict=True)
            )
            box = Box(start, size)
            crop = normalization.apply(image.read(box)).astype(np.float32) / 255
            ids = labels.read(box)
            label_ids = LabelIds.of(labels.address, ignore=settings["probe_ignore"])
            membrane = settings["probe_membrane"]
            if membrane:
                target, valid = is_one_of(ids, membrane), ~label_ids.unknown(ids)
            else:
                target, valid = membrane_target(ids, ignore=label_ids.ignore)
            places = np.argwhere(valid)
            if not len(places):
                continue
            chosen = places[rng.integers(len(places), size=_POINTS)]
            chunks.append((crop[None], chosen[None].astype(np.float32)))
            targets.append(target[tuple(chosen.T)])
        if not targets:
            raise InputError(f"eval.{name}: every voxel is ignored; choose another box")
        found = np.concatenate(targets)
        if found.all() or not found.any():
            raise InputError(
                f"eval.{name}: one class only; choose another box, or eval.probe_membrane"
            )
        return chunks, found

    def _read(self, params: Params, image: jax.Array, points: jax.Array) -> jax.Array:
        """Returns features of all levels at voxels of one crop, `[n, channels]`."""
        out = apply(self._task.backbone, params["backbone"], image[..., None])
        levels = zip(out["pyramid"], self._task.backbone.level_strides, strict=True)
        read = [read_level(level, points, stride)[0] for level, stride in levels]
        return jax.numpy.concatenate(read, axis=-1)


def _score(parts: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    (train, train_labels), (test, test_labels) = parts
    scores = linear_probe(train, train_labels, test, test_labels)
    return {f"probe_{name}": value for name, value in scores.items()}


def _filters(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    maps = []
    for scale in _SCALES:
        smooth = ndimage.gaussian_filter(image, (0, scale, scale))
        gradient = ndimage.gaussian_gradient_magnitude(image, (0.5, scale + 0.5, scale + 0.5))
        maps += [smooth, gradient]
    index = tuple(points.astype(int).T)
    return np.stack([m[index] for m in maps], axis=1)
