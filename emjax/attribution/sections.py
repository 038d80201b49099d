"""How attribution is shared out between sections, and whether their order matters to a network.

Measures of our choice, for what is described in "Mitigating Pretraining-Induced Attention Asymmetry in 2D+ Electron
Microscopy Image Segmentation" (arXiv:2505.14105). The primary one is the ratio of the two neighbours of the section
in the
middle: no section order tells them apart, while the middle one carries the label.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emjax.errors import InputError

# Of five sections and more there are too many orders to try all.
_MOST_ORDERS = 24


class Interval(NamedTuple):
    """A number and where it lies with 95 % confidence."""

    value: float
    low: float
    high: float


class Asymmetry(NamedTuple):
    """How unequal sections are; each with an interval over images.

    Attributes:
        shares: of each section, first to last; they add up to 1.
        neighbour_ratio: of the larger to the smaller share of the two neighbours of the middle; 1: equal. Over images
            that scatter it is above 1 by chance, too: compare its lower end with 1.
        neighbour_asymmetry: (before - after) / (before + after); 0: equal.
        spread: the largest share by the smallest.
        variation: standard deviation of the shares by their mean.
    """

    shares: tuple[Interval, ...]
    neighbour_ratio: Interval
    neighbour_asymmetry: Interval
    spread: Interval
    variation: Interval


def section_shares(attribution: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Returns which part of an attribution lies in each section.

    Args:
        attribution: `[images, n, y, x]`, of either sign; n sections around the one whose answer is explained.
        region: `[images, y, x]` bool, pixels that count; None: all.

    Returns:
        `[images, n]`; each image's add up to 1.

    Raises:
        InputError: if an image has no attribution at all.
    """
    sizes = np.abs(np.asarray(attribution, np.float64))
    if region is not None:
        sizes = sizes * np.asarray(region)[:, None]
    sums = sizes.sum((2, 3))
    nothing = np.flatnonzero(~(sums.sum(1) > 0))
    if len(nothing):
        raise InputError(
            f"image {nothing[0]} has no attribution in the region: its score is a constant, or not a number"
        )
    return sums / sums.sum(1, keepdims=True)


def asymmetry(shares: np.ndarray, num_samples: int = 2000, seed: int = 0) -> Asymmetry:
    """Describes shares over images, with intervals by drawing images again (bootstrap, 2.5 to 97.5 %).

    Args:
        shares: `[images, n]`, as of `section_shares`; n odd and at least 3.
        num_samples: drawings.
        seed: of the drawings.

    Raises:
        InputError: if no section is in the middle with a neighbour on each side.
    """
    images, sections = shares.shape
    if sections < 3 or sections % 2 == 0:
        raise InputError(
            f"shares of {sections} sections have no neighbours of a middle; give an odd number from 3"
        )
    rng = np.random.default_rng(seed)
    drawn = shares[rng.integers(0, images, (num_samples, images))].mean(1)
    whole = shares.mean(0, keepdims=True)

    def interval(measure: Callable[[np.ndarray], np.ndarray]) -> Interval:
        low, high = np.percentile(measure(drawn), (2.5, 97.5))
        return Interval(float(measure(whole)[0]), float(low), float(high))

    def by(number: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda means: means[:, number]

    before, after = by(sections // 2 - 1), by(sections // 2 + 1)
    return Asymmetry(
        shares=tuple(interval(by(number)) for number in range(sections)),
        neighbour_ratio=interval(
            lambda m: np.maximum(before(m), after(m)) / np.minimum(before(m), after(m))
        ),
        neighbour_asymmetry=interval(lambda m: (before(m) - after(m)) / (before(m) + after(m))),
        spread=interval(lambda m: m.max(1) / m.min(1)),
        variation=interval(lambda m: m.std(1) / m.mean(1)),
    )


def paired_difference(
    one: np.ndarray, other: np.ndarray, num_samples: int = 2000, seed: int = 0
) -> Interval:
    """Returns the mean of one minus other over the same images, with a bootstrap interval.

    Args:
        one: `[images]`.
        other: `[images]`, of the same images.
        num_samples: drawings.
        seed: of the drawings.
    """
    difference = np.asarray(one, np.float64) - other
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(0, len(difference), (num_samples, len(difference)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(float(difference.mean()), float(low), float(high))


class OrderSensitivity(NamedTuple):
    """Mean relative change of the output, `|f(x') - f(x)| / |f(x)|` over all its numbers.

    Attributes:
        any_order: over the orders of all sections but the given one (up to 24 of them).
        swap: with the two neighbours of the middle exchanged.
    """

    any_order: float
    swap: float


def order_sensitivity(
    forward: Callable[[np.ndarray], np.ndarray], x: np.ndarray, seed: int = 0
) -> OrderSensitivity:
    """Shows a network the same sections in other orders.

    Args:
        forward: `[images, n, y, x]` -> the answer for the section in the middle, `[images, ...]`.
        x: `[images, n, y, x]`.
        seed: of the choice of orders, where there are more than 24.
    """
    sections = x.shape[1]
    first = np.asarray(forward(x), np.float64)
    orders = _orders(sections, seed)

    def change(order: tuple[int, ...]) -> float:
        now = np.asarray(forward(x[:, list(order)]), np.float64)
        axes = tuple(range(1, now.ndim))
        sizes = np.sqrt((first**2).sum(axes))
        return float((np.sqrt(((now - first) ** 2).sum(axes)) / np.maximum(sizes, 1e-12)).mean())

    return OrderSensitivity(
        float(np.mean([change(order) for order in orders])), change(_swapped(sections))
    )


def map_swap(attribution: np.ndarray, swapped: np.ndarray) -> np.ndarray:
    """Returns how far a map does not follow its section when the neighbours are exchanged.

    Args:
        attribution: `[images, n, y, x]`.
        swapped: the same, of the inputs with the two neighbours of the middle exchanged.

    Returns:
        `[images]`, 1 - the correlation of the map of the section before with that of the same section after; 0 where
        they are the same, NaN where a map is constant.
    """
    middle = attribution.shape[1] // 2
    one = attribution[:, middle - 1].reshape(len(attribution), -1)
    other = swapped[:, middle + 1].reshape(len(attribution), -1)
    one, other = (maps - maps.mean(1, keepdims=True) for maps in (one, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - (one * other).sum(1) / np.sqrt((one**2).sum(1) * (other**2).sum(1))


class TwoWay(NamedTuple):
    """Effects on the logarithm of a share; each adds up to 0.

    Attributes:
        sections: of where a section lies, first to last.
        colours: of which colour of the kernel it takes, red, green, blue.
        residual: standard deviation of what the two leave.
    """

    sections: np.ndarray
    colours: np.ndarray
    residual: float


def two_way(shares: np.ndarray, colours: np.ndarray) -> TwoWay:
    """Tells apart what a section's place and its colour do to its share: `log s = section + colour + residual`.

    In the usual order the middle section takes green, so that the two cannot be told apart in one experiment; with
    each colour in the middle in turn (fills `rgb`, `brg`, `gbr`) they can.

    Args:
        shares: `[experiments, 3]`, all above 0.
        colours: `[experiments, 3]`, 0 red, 1 green, 2 blue: what each section takes.

    Raises:
        InputError: if the experiments do not tell them apart.
    """
    logs = np.log(shares) - np.log(shares).mean(1, keepdims=True)
    place = np.eye(3)[np.broadcast_to(np.arange(3), colours.shape).ravel()]
    colour = np.eye(3)[np.asarray(colours).ravel()]
    # One effect of each kind follows from the other two.
    design = np.concatenate([place[:, :2] - place[:, 2:], colour[:, :2] - colour[:, 2:]], axis=1)
    if np.linalg.matrix_rank(design) < 4:
        raise InputError(
            "these experiments have the same colour in the same section; add those with another colour in the middle"
        )
    found, *_ = np.linalg.lstsq(design, logs.ravel(), rcond=None)
    effects = [np.append(part, -part.sum()) for part in (found[:2], found[2:])]
    return TwoWay(effects[0], effects[1], float((logs.ravel() - design @ found).std()))


def _swapped(sections: int) -> tuple[int, ...]:
    order = list(range(sections))
    middle = sections // 2
    order[middle - 1], order[middle + 1] = order[middle + 1], order[middle - 1]
    return tuple(order)


def _orders(sections: int, seed: int) -> list[tuple[int, ...]]:
    """Returns orders other than the given one; all where there are few."""
    if sections <= 4:
        return list(itertools.permutations(range(sections)))[1:]
    rng = np.random.default_rng(seed)
    return [tuple(rng.permutation(sections)) for _ in range(_MOST_ORDERS)]
