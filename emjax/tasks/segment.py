"""Dense segmentation, learnt from labels: any list of targets, each with any list of losses, from one head.

Crops and labels are augmented together, and every target is made from the augmented labels, inside the compiled step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from emjax.augment.labelled import augment_labelled
from emjax.augment.recipes import Recipe, window_size
from emjax.geometry.sizes import Size
from emjax.losses.dense import weighted_loss
from emjax.losses.weight_maps import weigh
from emjax.models.backbone import Backbone
from emjax.models.build import apply, init_params
from emjax.parallel.sharding import constrain
from emjax.targets.edge_distance import relative_spacing
from emjax.targets.target import Target
from emjax.targets.widen import widen

Params = Any


@dataclasses.dataclass(frozen=True)
class Segment:
    """The segmentation task: `init`, `loss`, `predict`, and the functions that its evaluation needs; all are pure.

    Attributes:
        backbone: network whose output has the channels of all targets, in the order of the targets.
        targets: what is learnt.
        recipe: how crops are augmented.
        crop_size: (z, y, x) voxels of the network's input.
        strong_probability: probability that a crop also gets defects of sections.
        widen: whether targets that read widened labels get widened ones; else they get the labels as they are.
    """

    backbone: Backbone
    targets: tuple[Target, ...]
    recipe: Recipe
    crop_size: Size
    strong_probability: float
    widen: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel of a prediction."""
        return tuple(name for target in self.targets for name in target.stored_names)

    @property
    def offsets(self) -> tuple[Size | None, ...]:
        """Offset of each channel of a prediction, (z, y, x) voxels; None for a channel that is no affinity."""
        return tuple(offset for target in self.targets for offset in target.channel_offsets)

    @property
    def decoders(self) -> tuple[str, ...]:
        """For each channel, the segmentation method that its target names; '' where it names none."""
        return tuple(target.decoder for target in self.targets for _ in target.names)

    @property
    def uses_ids(self) -> bool:
        """Whether a target names ids of the file, so that batches need `classes`."""
        return any(target.reads == "classes" for target in self.targets)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels that targets read; '' are those without a name."""
        return tuple(dict.fromkeys(target.of for target in self.targets))

    @property
    def label_kinds(self) -> tuple[str, ...]:
        """Names of the arrays of labels in a batch: `labels` and `classes`, of labels with a name `labels.NAME`."""
        kinds = ("labels", "classes") if self.uses_ids else ("labels",)
        return tuple(_named(kind, name) for name in self.label_names for kind in kinds)

    @property
    def window_size(self) -> Size:
        """Size of the windows in a batch, (z, y, x) voxels."""
        return window_size(self.crop_size, self.recipe)

    def init(self, key: jax.Array) -> Params:
        """Makes the parameters of the network."""
        image = jnp.zeros((1, *self.crop_size, 1), jnp.float32)
        return {"backbone": init_params(self.backbone, key, image)}

    def loss(
        self, params: Params, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of one global batch of windows.

        Args:
            params: as made by `init`.
            batch: `image` `[b, Z, Y, X]` uint8 windows, larger than the crop by the recipe's margin; `labels` of the
                same shape, int32; `classes` likewise where a target names ids, and those of `label_kinds` where labels
                have names; `voxel_nm` `[b, 3]`.
            key: typed PRNG key of this step.

        Returns:
            The scalar loss, and scalar metrics: each loss of each target before weighting.
        """
        image, labels = self.augment(batch, key)
        logits = self._logits(params, constrain(image, "batch", "z", "y", "x"))
        return self.losses(logits, *self.make_targets(labels, batch["voxel_nm"]))

    def augment(
        self, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Cuts crops out of windows, augmented together with their labels.

        Args:
            batch: as in `loss`.
            key: typed PRNG key.

        Returns:
            `[b, z, y, x]` float32 in [0, 1], and the arrays of `label_kinds` of the same shape, int32.
        """
        keys = jax.random.split(key, batch["image"].shape[0])
        kinds = self.label_kinds
        stacked = jnp.stack([batch[kind] for kind in kinds], axis=-1)

        def augment(key: jax.Array, window: jax.Array, labels: jax.Array) -> Any:
            return augment_labelled(
                key, window, labels, self.crop_size, self.recipe, self.strong_probability
            )

        image, stacked = jax.vmap(augment)(keys, batch["image"], stacked)
        return image, dict(zip(kinds, jnp.moveaxis(stacked, -1, 0), strict=True))

    def make_targets(
        self, labels: Mapping[str, jax.Array], voxel_nm: jax.Array
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """Makes the targets of a batch.

        Args:
            labels: the arrays of `label_kinds`, `[b, z, y, x]` int32.
            voxel_nm: `[b, 3]` float32.

        Returns:
            For each target, its values and its mask, `[b, z, y, x, c]` float32.
        """
        # Targets such as contours and distances need the unwidened labels of touching objects.
        read = dict(labels)
        for name in self.label_names:
            plain = labels[_named("labels", name)]
            read[_named("widened", name)] = jax.vmap(widen)(plain) if self.widen else plain
        made = [
            self._make(target, read[_named(target.reads, target.of)], read, voxel_nm)
            for target in self.targets
        ]
        values, masks = zip(*made, strict=True)
        return list(values), list(masks)

    def _make(
        self,
        target: Target,
        labels: jax.Array,
        read: Mapping[str, jax.Array],
        voxel_nm: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        values, mask = jax.vmap(target.of_labels)(labels, voxel_nm)
        if not target.weights:
            return values, mask
        # Weights are of whole objects, as they are in the volume.
        objects = read[_named("labels", target.of)]

        def weighed(objects: jax.Array, values: jax.Array, mask: jax.Array, nm: jax.Array) -> Any:
            return weigh(target.weights, objects, values, mask, relative_spacing(nm))

        return values, jax.vmap(weighed)(objects, values, mask, voxel_nm)

    def predict(self, params: Params, images: jax.Array) -> jax.Array:
        """Runs the network.

        Args:
            params: as made by `init`.
            images: `[n, z, y, x]` float32 in [0, 1].

        Returns:
            `[n, z, y, x, c]` float32 in [0, 1]; see `Target.unit`.
        """
        parts = self.split(self._logits(params, images))
        units = [target.unit(part) for target, part in zip(self.targets, parts, strict=True)]
        return jnp.concatenate(units, axis=-1)

    def judge(
        self, params: Params, batch: Mapping[str, jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array], list[jax.Array], list[jax.Array]]:
        """Returns the loss and the prediction of crops without augmentation.

        Args:
            params: as made by `init`.
            batch: as in `loss`, but of the crop's size.

        Returns:
            The mean loss, its parts, and for each target the unit values `[b, z, y, x, c]`, and values and masks as
            `[2, b, z, y, x, c]`.
        """
        logits = self._logits(params, batch["image"].astype(jnp.float32) / 255)
        values, masks = self.make_targets(batch, batch["voxel_nm"])
        loss, parts = self.losses(logits, values, masks)
        units = [t.unit(part) for t, part in zip(self.targets, self.split(logits), strict=True)]
        truths = [jnp.stack(pair) for pair in zip(values, masks, strict=True)]
        return loss, parts, units, truths

    def split(self, channels: jax.Array) -> list[jax.Array]:
        """Splits `[..., c]` into the channels of each target."""
        parts, start = [], 0
        for target in self.targets:
            parts.append(channels[..., start : start + target.channels])
            start += target.channels
        return parts

    def _logits(self, params: Params, images: jax.Array) -> jax.Array:
        return apply(self.backbone, params["backbone"], images[..., None])["output"]

    def losses(
        self, logits: jax.Array, values: list[jax.Array], masks: list[jax.Array]
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of a batch of logits, and its parts before weighting.

        Args:
            logits: `[b, z, y, x, c]` float32, the channels of all targets.
            values: of each target, as `make_targets` makes them.
            masks: the same.
        """
        total, metrics = jnp.zeros(()), {}
        for target, part, value, mask in zip(
            self.targets, self.split(logits), values, masks, strict=True
        ):
            loss, parts = weighted_loss(target.losses, part, value, mask, target.activation)
            total = total + loss
            metrics |= {f"loss/{target.title}_{name}": found for name, found in parts.items()}
        return total, metrics


def _named(kind: str, name: str) -> str:
    return f"{kind}.{name}" if name else kind
