"""Kernels of networks of images, made kernels of networks of volumes: the one function that adds a depth.

A 2D network that sees n adjacent sections as its input channels has the same numbers as a 3D network whose first
kernel is n deep and sees one grey channel. So the ways in which the colours of photographs are laid onto sections, and
those in which a kernel is spread over a depth, are fills of one kernel.

Sources: uniform channels after "Mitigating Pretraining-Induced Attention Asymmetry in 2D+ Electron Microscopy Image
Segmentation" (arXiv:2505.14105); center and average after "Boosting 3D Neuron Segmentation with 2D Vision Transformer
Pre-trained on Natural Images" (arXiv:2405.02686). The scalings, `uniform_pca`, `uniform_mean` for any number of
sections, and the division by the depth in `average` are our choice.
"""

from __future__ import annotations

import numpy as np

from emjax.errors import InputError

_COLOURS = "rgb"
# Which colour each section takes, from the first to the last: in `rgb` the one in the middle takes green. The others
# are for telling apart what a network makes of green and of the middle.
_ORDERED = ("rgb", "brg", "gbr")
_UNIFORM = ("uniform_r", "uniform_g", "uniform_b", "uniform_mean", "uniform_pca")
_SPREAD = ("center", "average")
FILLS = (*_SPREAD, *_ORDERED, *_UNIFORM, "random")
SCALES = ("none", "global", "per_filter")
# A filter whose colours cancel would else be scaled to nothing, and one without the chosen colour without bound.
_SCALE_RANGE = (0.1, 10.0)


def inflate(
    kernel: np.ndarray,
    depth: int,
    fill: str,
    scale: str = "none",
    *,
    colour: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Adds a depth to a kernel.

    Args:
        kernel: `[y, x, i, o]`, of a 2D convolution.
        depth: of the new kernel, n, sections.
        fill: what each section of it holds.
            `center`: the kernel in the middle, zeros beside it: the 2D network on the section in the middle.
            `average`: the kernel by n in each: the 2D network on the mean of the sections.
            `rgb`: red, green and blue one after the other, from the start again where n > 3, times 3 / n; all three
            added up where n = 1. `brg` and `gbr` begin with another colour.
            `uniform_r`, `_g`, `_b`: one colour in each section, times 3 / n.
            `uniform_mean`: the mean of the colours in each, times 3 / n: as `rgb` where all sections are the same.
            `uniform_pca`: of the colours of a filter, which are three images, the one image that shows most of all
            three.
            `random`: normal numbers (He, fan in), nothing of the kernel but its shape.
        scale: of the `uniform` fills, so that the response to sections that are all the same has the size it had.
            `none`: as above; `global`: one factor for all filters; `per_filter`: one for each, between 0.1 and 10.
        colour: whether the kernel is the first of a network of photographs, whose input channels become sections, or
            (`center` and `average`) one grey channel by their sum. Else it keeps its input channels.
        seed: of `random`.

    Returns:
        `[depth, y, x, 1, o]`, or `[depth, y, x, i, o]` without `colour`; of the dtype of `kernel`.

    Raises:
        InputError: on an unknown fill or scale, a depth that has no middle where one is asked for, a kernel that has
            not three colours where they are told apart, or a scale where nothing is scaled.
    """
    _check(kernel, depth, fill, scale, colour)
    wide = np.asarray(kernel, np.float64)
    if fill == "random":
        channels = 1 if colour else kernel.shape[2]
        shape = (depth, *kernel.shape[:2], channels, kernel.shape[3])
        deviation = np.sqrt(2 / np.prod(shape[:-1]))
        sections = np.random.default_rng(seed).normal(0, deviation, shape)
    elif fill in _SPREAD:
        whole = wide.sum(2, keepdims=True) if colour else wide
        sections = np.zeros((depth, *whole.shape))
        if fill == "center":
            sections[depth // 2] = whole
        else:
            sections[:] = whole / depth
    elif fill in _ORDERED:
        sections = _ordered(wide, depth, fill)
    else:
        base = _base(wide, fill) * _factors(wide, _base(wide, fill), scale)
        sections = np.broadcast_to(
            3 / depth * base[None, :, :, None], (depth, *base.shape[:2], 1, base.shape[2])
        )
    return np.array(sections, kernel.dtype)


def _check(kernel: np.ndarray, depth: int, fill: str, scale: str, colour: bool) -> None:
    for what, given, known in (("fill", fill, FILLS), ("scale", scale, SCALES)):
        if given not in known:
            raise InputError(
                f"{what} '{given}' of a kernel is unknown; give one of {', '.join(known)}"
            )
    if kernel.ndim != 4 or depth < 1:
        raise InputError(
            f"a kernel of shape {kernel.shape} cannot become {depth} sections deep; give [y, x, i, o]"
        )
    if fill == "center" and depth % 2 == 0:
        raise InputError(
            f"fill 'center' needs a section in the middle, {depth} have none; give an odd number"
        )
    if fill in (*_ORDERED, *_UNIFORM) and not (colour and kernel.shape[2] == 3):
        raise InputError(
            f"fill '{fill}' needs the three colours of a first kernel, this one has {kernel.shape[2]} channels; use "
            "'center' or 'average'"
        )
    if scale != "none" and fill not in _UNIFORM:
        raise InputError(
            f"scale '{scale}' is for the fills {', '.join(_UNIFORM)}; with '{fill}' give 'none'"
        )


def _ordered(kernel: np.ndarray, depth: int, order: str) -> np.ndarray:
    """Lays the colours of `[y, x, 3, o]` onto sections, `[depth, y, x, 1, o]`."""
    if depth == 1:
        return kernel.sum(2, keepdims=True)[None]
    colours = [_COLOURS.index(order[section % 3]) for section in range(depth)]
    return 3 / depth * np.moveaxis(kernel[:, :, colours], 2, 0)[:, :, :, None]


def _base(kernel: np.ndarray, fill: str) -> np.ndarray:
    """Returns the image of each filter, `[y, x, o]`, that three equal sections of weight 1 hold."""
    if fill == "uniform_mean":
        return kernel.mean(2)
    if fill != "uniform_pca":
        return kernel[:, :, _COLOURS.index(fill[-1])]
    y, x, colours, filters = kernel.shape
    images = kernel.reshape(y * x, colours, filters).transpose(2, 1, 0)
    left, sizes, right = np.linalg.svd(images, full_matrices=False)
    # The sign of a singular vector is free: that which most of the colours have.
    sign = np.where(left[:, :, 0].sum(1) < 0, -1, 1)
    base = (sign * sizes[:, 0] / np.sqrt(3))[:, None] * right[:, 0]
    return base.T.reshape(y, x, filters)


def _factors(kernel: np.ndarray, base: np.ndarray, scale: str) -> np.ndarray:
    """Returns what each filter is multiplied by, `[o]` or a scalar."""
    if scale == "none":
        return np.ones(())
    before = np.linalg.norm(kernel.sum(2), axis=(0, 1))
    after = np.linalg.norm(3 * base, axis=(0, 1))
    if scale == "global":
        return before.sum() / after.sum() if after.sum() else np.ones(())
    return np.clip(
        np.divide(before, after, out=np.ones_like(after), where=after > 0), *_SCALE_RANGE
    )
