"""Evaluation of a segmentation network on held-out crops: the loss, and one metric for each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from emjax.parallel.compile import jit
from emjax.parallel.mesh import replicated
from emjax.targets.metrics import Metric
from emjax.tasks.segment import Params, Segment

# Number of crops in the picture.
SHOWN = 4


class SegmentEvaluation:
    """Scores a segmentation network on fixed crops, without augmentation.

    Args:
        task: the task, which makes predictions and targets.
        crops: `image` `[n, z, y, x]` uint8 of the task's crop size, the arrays of its `label_kinds` of the same shape,
            `voxel_nm` `[n, 3]`.
        mesh: every process of the mesh gets the results.
        chunk: number of crops evaluated at once; must divide n.
    """

    def __init__(
        self, task: Segment, crops: Mapping[str, np.ndarray], *, mesh: Mesh, chunk: int
    ) -> None:
        self._task = task
        kinds = ("image", *task.label_kinds, "voxel_nm")
        self._crops = {kind: crops[kind] for kind in kinds if kind in crops}
        self._chunk = chunk
        self._measure = jit(self._sums, out_shardings=replicated(mesh))
        self._predict = jit(task.predict, out_shardings=replicated(mesh))

    def __call__(self, params: Params) -> dict[str, float]:
        """Scores parameters.

        Args:
            params: as made by the task.

        Returns:
            `val_loss`, `val_loss_<target>_<loss>`, and `val_<metric>` of each target; see `emjax.targets.metrics`. A
            loss or metric without any known voxel is absent, and crops without known voxels do not count in means:
            their loss is 0 whatever is predicted.
        """
        scores, _ = self.scores(params)
        return scores

    def scores(self, params: Params) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Scores parameters on all crops together, and counts what the metrics are made of on each crop.

        Args:
            params: as made by the task.

        Returns:
            What `__call__` returns; and `val_<metric>` -> `[n, ...]` sums of each crop, see `emjax.targets.metrics`.
        """
        parts = [jax.device_get(self._measure(params, chunk)) for chunk in self._chunks()]
        known = np.asarray([part["known"] > 0 for part in parts])
        scores = _mean({"val_loss": [part["loss"] for part in parts]}, np.any(known, axis=1))
        for index in range(len(self._task.targets)):
            losses = [part["losses"][index] for part in parts]
            scores |= _mean({n: [loss[n] for loss in losses] for n in losses[0]}, known[:, index])
        each: dict[str, np.ndarray] = {}
        for index, target in enumerate(self._task.targets):
            sums = np.concatenate([np.asarray(part["sums"][index], np.float64) for part in parts])
            each[f"val_{target.score}"] = sums
            value = target.metric.score(np.sum(sums, axis=0))
            if value is not None:
                scores[f"val_{target.score}"] = value
        return scores, each

    def show(self, params: Params) -> list[dict[str, np.ndarray]]:
        """Returns the data for a picture of the first crops.

        Returns:
            For each crop, from its middle section: `image` `[y, x]`, `labels` `[y, x]`, `truth` and `prediction`
            `[y, x, targets]`, the first channel of each target that lies in the plane; `truth` is NaN where it is not
            known.
        """
        chunk = next(self._chunks())
        units = jax.device_get(self._predict(params, chunk["image"].astype(np.float32) / 255))
        values, masks = jax.device_get(jax.jit(self._task.make_targets)(chunk, chunk["voxel_nm"]))
        known = [
            np.where(mask > 0, value, np.nan) for value, mask in zip(values, masks, strict=True)
        ]
        truth = np.concatenate(known, axis=-1)
        channels = _shown_channels(self._task)
        middle = self._task.crop_size[0] // 2
        return [
            {
                "image": chunk["image"][i, middle] / 255,
                "labels": chunk[self._task.label_kinds[0]][i, middle],
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
        targets = self._task.targets
        losses = [
            {
                f"val_loss_{target.title}_{name}": parts[f"loss/{target.title}_{name}"]
                for name, _ in target.losses
            }
            for target in targets
        ]
        # The loss weights of voxels do not apply to metrics.
        masks = [(mask > 0).astype(jnp.float32) for _, mask in truths]
        sums = [
            _sums_of_crops(target.metric, unit, value, mask)
            for target, unit, (value, _), mask in zip(targets, units, truths, masks, strict=True)
        ]
        known = jnp.stack([jnp.any(mask > 0) for mask in masks])
        return {"loss": loss, "losses": losses, "sums": sums, "known": known}


def _sums_of_crops(metric: Metric, unit: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the sums of each crop, `[b, ...]`."""
    return jax.vmap(lambda *crop: metric.sums(*(array[None] for array in crop)))(unit, value, mask)


def _mean(values: Mapping[str, list[np.ndarray]], known: np.ndarray) -> dict[str, float]:
    """Returns the means over the chunks with known voxels; names without any are left out."""
    if not known.any():
        return {}
    return {
        name: float(np.mean(np.asarray(each, np.float64)[known])) for name, each in values.items()
    }


def _shown_channels(task: Segment) -> list[int]:
    """Returns one channel index for each target; of affinities, one that joins neighbours within a section."""
    chosen, start = [], 0
    for target in task.targets:
        in_plane = [i for i, o in enumerate(target.channel_offsets) if o is not None and o[0] == 0]
        chosen.append(start + (in_plane[0] if in_plane else 0))
        start += target.channels
    return chosen
