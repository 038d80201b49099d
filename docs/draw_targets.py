"""Draws docs/targets.png and docs/more_targets.png: `python docs/draw_targets.py`, from the repository, some 20 s."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from emjax.losses.weight_maps import weigh
from emjax.targets.language import parse_targets
from emjax.targets.offsets import NEAREST
from emjax.targets.widen import widen
from emjax.volumes.store import open_volume

ADDRESS = "synthetic://neurites?shape=9,96,96&seed=4&defects=0"
SECTION = 4
VOXEL_NM = (40.0, 8.0, 8.0)
TARGETS = (
    "affinities?offsets=-1,0,0/0,0,-1/0,-9,0",
    "foreground",
    "contour?edges=all",
    "contour?edges=instances&thickness=2",
    "contour?edges=touching",
    "distance?plane=true",
    "signed_distance?plane=true",
)
# The other targets: text, and the channels that are shown.
MORE_TARGETS = (
    ("skeleton_distance?plane=true", (0,)),
    ("skeleton_distance?plane=true&alpha=2", (0,)),
    ("energy?levels=5&plane=true", (1, 5)),
    ("flow", (0, 1)),
    ("lsd?sigma=1,8,8", (2, 5, 8, 9)),
    ("polarity", (0, 1, 2)),
    ("exclusive_polarity", (0,)),
    ("foreground?erode=3", (0,)),
    ("foreground?dilate=3", (0,)),
)
# Weights are shown as they multiply the loss, of a target and with the maps by name.
WEIGHTS = (
    "contour?weights=class_ratio",
    "contour?weights=dilated_ratio",
    "foreground?weights=border:10",
    "foreground?weights=small/500:4",
)


def main() -> None:
    """Writes the picture beside this file."""
    volume = open_volume(ADDRESS)
    image = volume.read(volume.box)
    labels, widened = _labels()

    figure = Figure(figsize=(9.6, 7.6), dpi=80)
    axes = iter(figure.subplots(3, 4).ravel())
    _show(next(axes), image[SECTION], "image\n", cmap="gray")
    colours = np.random.default_rng(2).uniform(0.25, 1, (int(labels.max()) + 1, 3))
    colours[0] = 0
    _show(next(axes), widened[SECTION], "labels\nborders widened", cmap=ListedColormap(colours))
    for text in TARGETS:
        (target,) = parse_targets(text)
        values, mask = jax.jit(target.make)(
            # Once parted by background, no two objects touch.
            labels if target.kind == "contour" else widened,
            np.asarray(VOXEL_NM),
        )
        for channel, offset in enumerate(target.channel_offsets):
            title = text.replace("?", "\n") if "?" in text else f"{text}\n"
            if offset is not None:
                title = "affinities\n" + ",".join(map(str, offset))
            section = np.ma.masked_where(
                mask[SECTION, ..., channel] == 0, values[SECTION, ..., channel]
            )
            signed = target.kind == "signed_distance"
            limits = (-1, 1) if signed else (0, 1)
            _show(next(axes), section, title, "RdBu_r" if signed else "gray", limits)
    axes = list(axes)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, 0.05, 0.2)
    box = axes[0].get_position()
    for axis in axes:
        axis.remove()
    _draw_offsets(figure.add_axes(box))
    figure.savefig(Path(__file__).with_name("targets.png"))


def draw_more() -> None:
    """Writes the picture of the other targets, of erosion and dilation, and of weights."""
    labels, parted = _labels()
    pairs = _synapses(labels.shape)
    figure = Figure(figsize=(9.6, 10), dpi=80)
    axes = iter(figure.subplots(4, 5).ravel())
    for text, channels in MORE_TARGETS:
        (target,) = parse_targets(text)
        source = pairs if target.kind.endswith("polarity") else parted
        values, mask = jax.jit(target.of_labels)(source, np.asarray(VOXEL_NM))
        for channel in channels:
            masked = mask[SECTION, ..., channel] == 0
            section = np.ma.masked_where(masked, values[SECTION, ..., channel])
            signed = target.activation == "tanh"
            title = text.replace("?", "\n") if "?" in text else f"{text}\n"
            title += "" if target.channels == 1 else f" {target.names[channel]}"
            limits = (-1, 1) if signed else (0, 1)
            _show(next(axes), section, title, "RdBu_r" if signed else "gray", limits)
    for text in WEIGHTS:
        (target,) = parse_targets(text)
        values, mask = target.of_labels(parted)
        weights = weigh(target.weights, parted, values, mask)[SECTION, ..., 0]
        title = text.replace("?", "\n") + f": 1 to {float(weights.max()):.0f}"
        _show(next(axes), np.ma.masked_where(weights == 0, weights), title, "viridis")
    for axis in axes:
        axis.remove()
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, 0.05, 0.25)
    figure.savefig(Path(__file__).with_name("more_targets.png"))


def _synapses(shape: tuple[int, ...]) -> jax.Array:
    """Returns three synapses as half discs that face each other, with odd ids on the upper side."""
    _, y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for n, (row, column, radius) in enumerate(((25, 25, 14), (60, 65, 18), (78, 22, 10))):
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        labels[inside] = np.where(y < row, 2 * n + 1, 2 * n + 2)[inside]
    return jax.numpy.asarray(labels)


def _labels() -> tuple[jax.Array, jax.Array]:
    """Returns labels as the loader numbers them, dense, 0 stays; and the same with borders widened."""
    volume = open_volume(f"{ADDRESS}&labels=neurons")
    stored = volume.read(volume.box)
    _, dense = np.unique(np.append(stored.ravel(), 0), return_inverse=True)
    labels = jax.numpy.asarray(dense[:-1].reshape(stored.shape), np.int32)
    return labels, widen(labels)


def _show(axis: Axes, section: np.ndarray, title: str, cmap, limits=(None, None)) -> None:
    low, high = limits
    # What is masked is orange.
    axis.set_facecolor("tab:orange")
    axis.imshow(section, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])


def _draw_offsets(axis: Axes) -> None:
    """The convention: a channel at p joins p and p + offset."""
    row = [1, 1, 2, 2, 0]
    colours = {0: "black", 1: "tab:green", 2: "tab:purple"}
    for x, label in enumerate(row):
        axis.add_patch(_square(x, 2, colours[label]))
        axis.text(x + 0.5, 2.5, str(label), ha="center", va="center", color="white")
        value = "?" if x == 0 else str(int(label == row[x - 1] > 0))
        shade = {"?": "tab:orange", "0": "black", "1": "white"}[value]
        axis.add_patch(_square(x, 0, shade))
        ink = "white" if shade == "black" else "black"
        axis.text(x + 0.5, 0.5, value, ha="center", va="center", color=ink)
        if x > 0:
            arrow = {"arrowstyle": "->", "connectionstyle": "arc3,rad=0.5"}
            axis.annotate("", (x - 0.4, 3.05), (x + 0.4, 3.05), arrowprops=arrow)
    axis.text(2.5, 1.5, "p joins p + (0, 0, -1), stored at p", ha="center", va="center", fontsize=7)
    axis.set_xlim(-0.1, 5.1)
    axis.set_ylim(-0.2, 4.2)
    axis.set_aspect("equal")
    axis.set_axis_off()
    axis.set_title(f"one row of labels\noffset {','.join(map(str, NEAREST[2]))}", fontsize=8)


def _square(x: float, y: float, colour: str) -> Rectangle:
    return Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="gray")


if __name__ == "__main__":
    main()
    draw_more()
