"""The contract of a target: what some channels of a network learn, and how their logits are read.

A new target is one file, with a dataclass that derives from `Target`, and one line: in `TARGETS` of
`emjax.targets.language`, or as an entry point of another package in the group `emjax.targets`. It contains everything
that emjax needs to know about it; an unknown name in it is an error as soon as its class is defined.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.metrics import Metric
from emjax.targets.morphology import dilate, erode
from emjax.targets.offsets import Offset
from emjax.targets.options import Losses, readers_of
from emjax.targets.weights import OF_LABELS, SIZES, Weights, check_weights

# Losses of a target whose values are 0 or 1.
BINARY_LOSSES = ("bce", "balanced_bce", "focal", "dice", "mse", "l1")
# Losses of a target of which each voxel has exactly one channel.
CLASS_LOSSES = ("cross_entropy", "dice")

# Labels from which a target can be made: with dense ids within the crop; the same, but with background at the borders
# of touching objects if the configuration asks for it (`data.widen`); or with the ids of the file.
LABELS = ("labels", "widened", "classes")

# Activation -> function from logits `[..., c]`, float32, to numbers in [0, 1].
UNITS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": lambda logits: (jnp.tanh(logits) + 1) / 2,
    "softmax": jax.nn.softmax,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(abc.ABC):
    """What some channels of a network learn. Frozen and hashable; options are checked when it is made.

    Further fields of a subclass are its options; their types decide how text is read (`emjax.targets.options`).

    Attributes:
        losses: (name in `emjax.losses.dense.DENSE_LOSSES`, weight) of each loss.
        of: name of the labels that the target is made from, as in `image|mito=ADDRESS`; '': those without a name.
        weights: (name, size, strength) of each map of weights in the losses, see `emjax.targets.weights`; (): none.
        erode: voxels within sections by which objects are eroded before the target is made, from all other labels.
        dilate: voxels within sections by which objects are dilated into background, after they are eroded.
        name: what is before the names of its channels and scores, as in `mito.foreground`; '': as `of`.
        kind: name of the target in the target language. A class without a name is a base class.
        metric: the metric of validation.
        activation: maps logits to values: 'sigmoid', 'tanh' or 'softmax'; the losses apply it too.
        known_losses: names of the losses that are meaningful for this target.
        continuous: whether values are numbers, such as distances, and not 0 or 1 alone; decides which maps of weights
            are meaningful.
        reads: which labels it is made from, one of `LABELS`; a property where this depends on options.
        decoder: name of the method in `emjax.segmentation` that makes objects from its channels, together with other
            channels if needed; '': none.
    """

    losses: Losses
    of: str = ""
    name: str = ""
    weights: Weights = ()
    erode: int = 0
    dilate: int = 0

    kind: ClassVar[str]
    metric: ClassVar[Metric]
    activation: ClassVar[str] = "sigmoid"
    known_losses: ClassVar[tuple[str, ...]] = BINARY_LOSSES
    continuous: ClassVar[bool] = False
    reads: ClassVar[str] = "labels"
    decoder: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Raises TypeError on a target class that lacks something, or uses an unknown name."""
        super().__init_subclass__()
        readers_of(cls)
        if not hasattr(cls, "kind"):
            return
        if not isinstance(getattr(cls, "metric", None), Metric):
            raise TypeError(
                f"{cls.__name__}.metric must be an object of emjax.targets.metrics, such as F1('{cls.kind}_f1')"
            )
        if cls.activation not in UNITS:
            raise TypeError(
                f"{cls.__name__}.activation='{cls.activation}' is unknown{nearest(cls.activation, UNITS)}"
            )
        if not isinstance(cls.reads, property) and cls.reads not in LABELS:
            raise TypeError(
                f"{cls.__name__}.reads='{cls.reads}' is unknown{nearest(cls.reads, LABELS)}"
            )

    def __post_init__(self) -> None:
        """Raises InputError on losses or options that are not valid."""
        if not self.losses:
            raise InputError(
                f"{self.kind}: no loss; give losses={self.known_losses[0]}:1, or leave it out"
            )
        for option, text in (("of", self.of), ("name", self.name)):
            if text and not text.isidentifier():
                raise InputError(
                    f"{self.kind}: {option}={text} must be letters, digits and _, as in {option}=mito"
                )
        for name, weight in self.losses:
            if name not in self.known_losses:
                hint = nearest(name, self.known_losses)
                raise InputError(f"{self.kind}: no loss '{name}' for this target{hint}")
            if not 0 < weight < float("inf"):
                raise InputError(f"{self.kind}: weight {weight:g} of loss {name} must be above 0")
            if [n for n, _ in self.losses].count(name) > 1:
                raise InputError(f"{self.kind}: loss {name} is given twice; give it once")
        check_weights(self.kind, self.weights, OF_LABELS if self.continuous else tuple(SIZES))
        for option, radius in (("erode", self.erode), ("dilate", self.dilate)):
            if radius < 0:
                raise InputError(f"{self.kind}: {option}={radius} must be 0 or more, in voxels")

    @property
    def group(self) -> str:
        """The group of its channels: `name`, else `of`; '' for channels without one."""
        return self.name or self.of

    @property
    def title(self) -> str:
        """Its kind, with its group before it, as in `mito_foreground`; unique among the targets of a network."""
        return f"{self.group}_{self.kind}" if self.group else self.kind

    @property
    def score(self) -> str:
        """Name of its metric in results, after `val_`; unique among the targets of a network."""
        return f"{self.group}_{self.metric.name}" if self.group else self.metric.name

    @property
    def stored_names(self) -> tuple[str, ...]:
        """Name of each channel as it is stored, with the group before it, as in `mito.foreground`."""
        return tuple(f"{self.group}.{name}" if self.group else name for name in self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel, without the group."""
        return (self.kind,)

    @property
    def channel_offsets(self) -> tuple[Offset | None, ...]:
        """Offset of each channel, (z, y, x) voxels; None for a channel that is no affinity."""
        return (None,) * self.channels

    @property
    def channels(self) -> int:
        """Number of channels of the network's output."""
        return len(self.names)

    def of_labels(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Makes the target of one crop as `make` does, of objects that are eroded and dilated as its options say."""
        return self.make(dilate(erode(labels, self.erode), self.dilate), voxel_nm)

    @abc.abstractmethod
    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Makes the target of one crop; works under jit and vmap.

        Args:
            labels: `[z, y, x]` int32, of the kind that `reads` names.
            voxel_nm: `[3]` (z, y, x) nm, for distances. None or zeros: unknown, taken as cubes.

        Returns:
            values `[z, y, x, c]` float32 and mask `[z, y, x, c]` float32: 0 where the value is not known, else the
            weight of the voxel in the losses, 1 or another number above 0.

        Raises:
            InputError: if the labels are not those of one crop, or are too small for this target.
        """

    def unit(self, logits: jax.Array) -> jax.Array:
        """Returns logits `[..., c]` as float32 numbers in [0, 1], as they are stored in predictions."""
        return UNITS[self.activation](logits.astype(jnp.float32))
