"""The target `contour`: where objects end, on both sides of each edge."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from emjax.config import nearest
from emjax.errors import InputError
from emjax.targets.labels import IGNORE, as_channel, check_labels, neighbour
from emjax.targets.metrics import F1
from emjax.targets.target import Losses, Target

Edges = Literal["all", "instances", "touching"]
EDGES: tuple[str, ...] = get_args(Edges)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contour(Target):
    """One channel, 1 at contours.

    Attributes:
        losses: of the channel.
        thickness: voxels on each side of an edge.
        edges: which edges are marked, see `contour`.
        plane: whether contours are found within each section only, not across sections.
    """

    losses: Losses = (("balanced_bce", 1.0), ("dice", 0.5))
    thickness: int = 1
    edges: Edges = "all"
    plane: bool = True

    kind = "contour"
    metric = F1("contour_f1")
    decoder = "contour"

    def make(
        self, labels: jax.Array, voxel_nm: jax.Array | Sequence[float] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """See `Target.make`; raises InputError for a crop so small that no contour can be known."""
        check_labels(labels)
        if min(labels.shape[1 if self.plane else 0 :]) <= 2 * self.thickness:
            raise InputError(
                f"contour: thickness={self.thickness} leaves no voxel that is known in a crop of "
                f"{labels.shape}; enlarge data.crop_size" + ("" if self.plane else " or plane=true")
            )
        return contour(labels, self.thickness, self.edges, self.plane)

    def __post_init__(self) -> None:
        """Raises InputError on options that are not valid."""
        super().__post_init__()
        check_contour(self.thickness, self.edges)


def contour(
    labels: jax.Array, thickness: int = 1, edges: str = "all", plane: bool = True
) -> tuple[jax.Array, jax.Array]:
    """Marks the contours of objects, on both sides of each edge.

    A voxel is marked at thickness 1 if it differs from a voxel that it shares a face with; each further voxel
    of thickness widens the marks by one in all directions, diagonals included.

    Args:
        labels: `[z, y, x]` int32.
        thickness: voxels on each side of an edge.
        edges: 'all': between any two ids, background included; 'instances': the same edges, marked only on objects
            and not on background; 'touching': only where two objects meet, marked only on objects.
        plane: whether contours are found within each section only, not across sections.

    Returns:
        values and mask, each `[z, y, x, 1]` float32. A value is known where everything that could make it 1 is known:
        there is no unlabelled voxel, and no border of the crop, within `thickness` (along y and x only if `plane`).
        Known contours beside unknown voxels are masked as well: kept alone, they would teach that contours run along
        the borders of crops. Where contours are marked only on objects, background is known to be 0.

    Raises:
        InputError: an argument is out of range.

    Source: the modes are those of PyTorch Connectomics (`seg-no-bg` is 'touching'), whose
    'seg-all' equals 'all' and whose borders are not masked; both are our choice.
    """
    check_labels(labels)
    check_contour(thickness, edges)
    axes = (1, 2) if plane else (0, 1, 2)
    margin = [(thickness, thickness) if axis in axes else (0, 0) for axis in range(3)]
    wide = jnp.pad(labels, margin, constant_values=IGNORE)
    edge = jnp.zeros(wide.shape, bool)
    unknown = wide == IGNORE
    for axis in axes:
        for step in (-1, 1):
            other = neighbour(wide, [step if a == axis else 0 for a in range(3)])
            differs = (wide != other) & (wide != IGNORE) & (other != IGNORE)
            if edges == "instances":
                differs &= wide > 0
            elif edges == "touching":
                differs &= (wide > 0) & (other > 0)
            edge |= differs
            unknown |= other == IGNORE
    edge, unknown = (_widened(flags, thickness - 1, axes) for flags in (edge, unknown))
    inner = tuple(slice(low, -high or None) for low, high in margin)
    edge, known = edge[inner], ~unknown[inner]
    if edges != "all":
        edge &= labels > 0
        known |= labels == 0
    return as_channel(edge & known), as_channel(known)


def check_contour(thickness: int, edges: str) -> None:
    """Raises InputError unless these are valid options of a contour."""
    if thickness < 1:
        raise InputError(f"contour: thickness={thickness} is below 1; give voxels on each side")
    if edges not in EDGES:
        raise InputError(f"contour: edges={edges} is unknown{nearest(edges, EDGES)}")


def _widened(flags: jax.Array, radius: int, axes: Sequence[int]) -> jax.Array:
    if radius == 0:
        return flags
    window = tuple(2 * radius + 1 if axis in axes else 1 for axis in range(3))
    return jax.lax.reduce_window(flags, False, jax.lax.bitwise_or, window, (1, 1, 1), "SAME")
