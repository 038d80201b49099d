"""The kinds of targets; their options are their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.errors import InputError
from emjax.targets.affinities import NEAREST, Offset, affinities, check_offsets
from emjax.targets.boundaries import check_contour, contour, foreground
from emjax.targets.distances import instance_distance, relative_spacing, signed_distance
from emjax.targets.labels import IGNORE, check_labels
from emjax.targets.target import Losses, Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Affinities(Target):
    """One channel an offset; see `emjax.targets.affinities`."""

    losses: Losses = (("balanced_bce", 1.0),)
    joins: tuple[Offset, ...] = NEAREST

    kind = "affinities"
    metric = "affinity_f1"

    @property
    def names(self) -> tuple[str, ...]:
        """One 'affinity' a channel; the offsets tell them apart."""
        return ("affinity",) * len(self.joins)

    @property
    def offsets(self) -> tuple[Offset | None, ...]:
        """The offset of each channel."""
        return self.joins

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        check_labels(labels)
        for offset in self.joins:
            if any(-o >= n for o, n in zip(offset, labels.shape, strict=True)):
                raise InputError(
                    f"affinities: offset {','.join(map(str, offset))} leaves no pair in a crop of "
                    f"{labels.shape}; enlarge data.crop_size or leave that offset out"
                )
        return affinities(labels, self.joins)

    def __post_init__(self) -> None:
        """Raises InputError on options that cannot be."""
        super().__post_init__()
        check_offsets(self.joins)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreground(Target):
    """Is there any object; see `emjax.targets.boundaries`."""

    losses: Losses = (("bce", 1.0), ("dice", 1.0))
    ids: tuple[int, ...] = ()

    kind = "foreground"
    metric = "foreground_iou"

    @property
    def reads(self) -> str:
        """Chosen ids are those of the file."""
        return "classes" if self.ids else "labels"

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return foreground(labels, self.ids)

    def __post_init__(self) -> None:
        """Raises InputError on options that cannot be."""
        super().__post_init__()
        _check_ids(self.kind, self.ids, least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contour(Target):
    """Where objects end; see `emjax.targets.boundaries`."""

    losses: Losses = (("balanced_bce", 1.0), ("dice", 0.5))
    thickness: int = 1
    edges: str = "all"
    plane: bool = True

    kind = "contour"
    metric = "contour_f1"

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        check_labels(labels)
        if min(labels.shape[1 if self.plane else 0 :]) <= 2 * self.thickness:
            raise InputError(
                f"contour: thickness={self.thickness} leaves no voxel that is known in a crop of "
                f"{labels.shape}; enlarge data.crop_size" + ("" if self.plane else " or plane=true")
            )
        return contour(labels, self.thickness, self.edges, self.plane)

    def __post_init__(self) -> None:
        """Raises InputError on options that cannot be."""
        super().__post_init__()
        check_contour(self.thickness, self.edges)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distance(Target):
    """How deep in its object a voxel lies, 0 to 1; see `emjax.targets.distances`."""

    losses: Losses = (("mse", 1.0),)
    plane: bool = False

    kind = "distance"
    metric = "distance_mae"
    known_losses = ("mse", "l1", "bce")

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        return instance_distance(labels, relative_spacing(voxel_nm), self.plane)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignedDistance(Target):
    """How far the edge of the foreground is, -1 to 1; see `emjax.targets.distances`.

    Attributes:
        inside: distance with the value tanh(1), in the shortest sides of a voxel.
        outside: the same, in the background.
        plane: measure within each section.
    """

    losses: Losses = (("mse", 1.0),)
    inside: float = 8.0
    outside: float = 50.0
    plane: bool = False

    kind = "signed_distance"
    metric = "signed_distance_mae"
    activation = "tanh"
    known_losses = ("mse", "l1")

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`; values in [-1, 1], which `unit` and stored predictions map to [0, 1]."""
        spacing = relative_spacing(voxel_nm)
        return signed_distance(labels, self.inside, self.outside, spacing, self.plane)

    def __post_init__(self) -> None:
        """Raises InputError on options that cannot be."""
        super().__post_init__()
        for name, value in (("inside", self.inside), ("outside", self.outside)):
            if not 0 < value < float("inf"):
                raise InputError(
                    f"signed_distance: {name}={value:g} must be above 0, in sides of a voxel"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes(Target):
    """Which of some ids a voxel has, one channel an id; voxels of other ids are masked."""

    losses: Losses = (("cross_entropy", 1.0),)
    ids: tuple[int, ...]

    kind = "classes"
    metric = "class_mean_iou"
    activation = "softmax"
    known_losses = ("cross_entropy", "dice")

    @property
    def names(self) -> tuple[str, ...]:
        """One channel an id."""
        return tuple(f"class_{i}" for i in self.ids)

    @property
    def reads(self) -> str:
        """The ids are those of the file."""
        return "classes"

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`."""
        check_labels(labels)
        values = (labels[..., None] == jnp.asarray(self.ids)) & (labels[..., None] != IGNORE)
        known = jnp.broadcast_to(jnp.any(values, axis=-1, keepdims=True), values.shape)
        return values.astype(jnp.float32), known.astype(jnp.float32)

    def __post_init__(self) -> None:
        """Raises InputError on options that cannot be."""
        super().__post_init__()
        _check_ids(self.kind, self.ids, least=0)
        if len(self.ids) < 2:
            raise InputError(
                f"classes: ids={','.join(map(str, self.ids))} is a choice of {len(self.ids)}; give "
                "two ids or more, background among them, for example ids=0,1,2"
            )


KINDS: dict[str, type[Target]] = {
    kind.kind: kind for kind in (Affinities, Foreground, Contour, Distance, SignedDistance, Classes)
}


def _check_ids(kind: str, ids: tuple[int, ...], least: int) -> None:
    shown = ",".join(map(str, ids))
    if any(i < least for i in ids):
        raise InputError(f"{kind}: ids={shown}: must be {least} or more")
    if len(set(ids)) < len(ids):
        raise InputError(f"{kind}: ids={shown}: an id is given twice")
    if any(i > 2**31 - 1 for i in ids):
        raise InputError(f"{kind}: ids={shown}: a device holds ids up to 2147483647")
