"""How well a segmentation network does on held-out crops: the loss and one metric for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from emjax.parallel.compile import jit
from emjax.parallel.mesh import replicated
from emjax.targets.kinds import Target
from emjax.tasks.segment import Params, Segment

# Crops in the picture, and the prediction above which a voxel counts.
SHOWN = 4
THRESHOLD = 0.5


class SegmentEvaluation:
    """Scores on crops that are always the same, without augmentation.

    Args:
        task: makes predictions and targets.
        crops: `image` `[n, z, y, x]` uint8 of the task's crop size, `labels`, `classes` where a target names ids,
            `voxel_nm` `[n, 3]`.
        mesh: results are wanted on every process of it.
        chunk: crops at a time; divides n.
    """

    def __init__(
        self, task: Segment, crops: Mapping[str, np.ndarray], *, mesh: Mesh, chunk: int
    ) -> None:
        self._task = task
        kinds = ("image", "labels", "classes", "voxel_nm")
        self._crops = {kind: crops[kind] for kind in kinds if kind in crops}
        self._chunk = chunk
        self._measure = jit(self._sums, out_shardings=replicated(mesh))
        self._predict = jit(task.predict, out_shardings=replicated(mesh))

    def __call__(self, params: Params) -> dict[str, float]:
        """Scores parameters.

        Args:
            params: as made by the task.

        Returns:
            `val_loss`, `val_loss_<target>_<loss>`, and `val_<metric>` of each target: `foreground_iou`, `contour_f1`,
            `affinity_f1` (of the edges that separate, the rare ones; our choice), `distance_mae`,
            `signed_distance_mae` (-1 to 1), `class_mean_iou` (of the classes that occur). A metric that no known voxel
            decides is absent.
        """
        parts = [jax.device_get(self._measure(params, chunk)) for chunk in self._chunks()]
        losses = [part["losses"] for part in parts]
        scores = {
            name: float(np.mean([loss[name] for loss in losses], dtype=np.float64))
            for name in losses[0]
        }
        for index, target in enumerate(self._task.targets):
            sums = [np.asarray(part["sums"][index], np.float64) for part in parts]
            value = _score(target, np.sum(sums, axis=0))
            if value is not None:
                scores[f"val_{target.metric}"] = value
        return scores

    def show(self, params: Params) -> list[dict[str, np.ndarray]]:
        """Returns what a picture of the first crops needs.

        Returns:
            For each crop, of its middle section: `image` `[y, x]`, `labels` `[y, x]`, `truth` and `prediction`
            `[y, x, targets]`, the first channel of each target that lies in the plane.
        """
        chunk = next(self._chunks())
        units = jax.device_get(self._predict(params, chunk["image"].astype(np.float32) / 255))
        values, _ = jax.device_get(jax.jit(self._task.make_targets)(chunk, chunk["voxel_nm"]))
        truth = np.concatenate(values, axis=-1)
        channels = _shown_channels(self._task)
        middle = self._task.crop_size[0] // 2
        return [
            {
                "image": chunk["image"][i, middle] / 255,
                "labels": chunk["labels"][i, middle],
                "truth": truth[i, middle][..., channels],
                "prediction": units[i, middle][..., channels],
            }
            for i in range(min(SHOWN, self._chunk))
        ]

    def _chunks(self) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self._crops["image"]), self._chunk):
            yield {k: v[start : start + self._chunk] for k, v in self._crops.items()}

    def _sums(self, params: Params, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        loss, parts, units, truths = self._task.judge(params, batch)
        losses = {"val_loss": loss}
        losses |= {f"val_{name.replace('/', '_')}": value for name, value in parts.items()}
        pairs = zip(self._task.targets, units, truths, strict=True)
        return {"losses": losses, "sums": [_sums(t, unit, *truth) for t, unit, truth in pairs]}


def _sums(target: Target, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """What adds up over crops: hits, false alarms and misses; errors and voxels; or the same of each class."""
    if target.metric.endswith("_mae"):
        # Signed distances are stored as (v + 1) / 2.
        found = 2 * unit - 1 if target.kind == "signed_distance" else unit
        return jnp.stack([jnp.sum(jnp.abs(found - value) * mask), jnp.sum(mask)])
    if target.kind == "classes":
        found = jax.nn.one_hot(jnp.argmax(unit, axis=-1), unit.shape[-1])
        axes = tuple(range(unit.ndim - 1))
    else:
        found = (unit > THRESHOLD).astype(jnp.float32)
        axes = None
        if target.kind == "affinities":
            found, value = 1 - found, 1 - value
    hits = jnp.sum(found * value * mask, axis=axes)
    return jnp.stack(
        [
            hits,
            jnp.sum(found * mask, axis=axes) - hits,
            jnp.sum(value * mask, axis=axes) - hits,
        ]
    )


def _score(target: Target, sums: np.ndarray) -> float | None:
    """The metric of a target from its sums; None where it has no meaning."""
    if target.metric.endswith("_mae"):
        return float(sums[0] / sums[1]) if sums[1] else None
    hits, alarms, misses = sums
    if target.metric.endswith("_f1"):
        hits, alarms, misses = 2 * hits, alarms, misses
    union = np.atleast_1d(hits + alarms + misses)
    if not np.any(union > 0):
        return None
    return float(np.mean(np.atleast_1d(hits)[union > 0] / union[union > 0]))


def _shown_channels(task: Segment) -> list[int]:
    """One channel of each target: of affinities one that joins neighbours within a section."""
    chosen, start = [], 0
    for target in task.targets:
        in_plane = [i for i, o in enumerate(target.offsets) if o is not None and o[0] == 0]
        chosen.append(start + (in_plane[0] if in_plane else 0))
        start += target.channels
    return chosen
