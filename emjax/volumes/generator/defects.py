"""Damage and misalignment of the sections of the synthetic tissue.

A plan is made for each section from the seed and its number alone: the drift of its grey levels,
how it was aligned, and whether it is missing, folded, slipped or blurred. The rates are our
choice: about one section in thirteen is damaged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from emjax.compiled import compiled
from emjax.volumes.generator import noise as _noise

_draw, _key = _noise.draw, _noise.key_of
_noise_line, _noise_vector = _noise.noise_line, _noise.noise_vector

SERIAL_NM = 20.0  # thicker sections were cut and collected one by one; thinner were milled
FOLD_SPACING_NM = 14000.0  # between the parallel lines along which a section folds
FOLD_REACH_NM = 900.0
MAX_SHIFT_NM = 700.0  # no point of any section is displaced further in the plane

MISSING_RATE, REPEATED_RATE, FOLD_RATE, SLIP_RATE, BLUR_RATE = 0.012, 0.006, 0.020, 0.020, 0.018


class Section(NamedTuple):
    """The plan of one section.

    Attributes:
        index: number of the section.
        source: section whose tissue is shown; not `index` if this section repeats its neighbour.
        missing: whether nothing is shown.
        shift_nm: `[2]` y, x displacement of the whole section.
        wobble_nm: size of the smooth displacement within the section.
        fold_nm: tissue lost in each fold, 0 for none.
        fold_angle: direction of the folds, radians.
        blur: standard deviation of the blur, pixels.
        gain: contrast.
        offset: brightness, in grey levels.
        noise: standard deviation of the shot noise at mid-grey, in grey levels.
        damaged: 'missing', 'repeated', 'fold', 'slip' or 'blur'; '' for a sound section.
    """

    index: int
    source: int
    missing: bool
    shift_nm: tuple[float, float]
    wobble_nm: float
    fold_nm: float
    fold_angle: float
    blur: float
    gain: float
    offset: float
    noise: float
    damaged: str


def _normal(key: np.uint64, index: int, which: int) -> float:
    return float(_noise.normal(np.uint64(_noise.hashed(key, index, which, 1))))


def plan_section(seed: int, index: int, thickness_nm: float, defects: bool) -> Section:
    """Plan one section.

    Args:
        seed: seed of the tissue.
        index: number of the section, from the plane z = 0.
        thickness_nm: spacing of the sections; from 20 nm on they count as serial sections, and
            only those can be missing, folded or slipped.
        defects: whether damage may happen.

    Returns:
        The plan.
    """
    key = _key(seed, 31)
    serial = thickness_nm >= SERIAL_NM
    slow = float(_noise_line(key, index * thickness_nm / 1500.0))
    if not serial:
        gain, offset = 0.85 + 0.04 * slow, 5.0 * slow
        return Section(index, index, False, (0.0, 0.0), 0.0, 0.0, 0.0, 0.95, gain, offset, 5.5, "")
    gain = 1.0 + 0.05 * slow + 0.055 * _normal(key, index, 1)
    offset = 5.0 * slow + 7.0 * _normal(key, index, 2)
    shift = (7.0 * _normal(key, index, 3), 7.0 * _normal(key, index, 4))
    blur = 0.62 + 0.16 * float(_draw(key, index, 5, 0))
    grain = 9.0 * math.exp(0.15 * _normal(key, index, 6))
    section = Section(index, index, False, shift, 14.0, 0.0, 0.0, blur, gain, offset, grain, "")
    if not defects:
        return section
    chance = float(_draw(key, index, 7, 0))
    a, b = float(_draw(key, index, 8, 0)), float(_draw(key, index, 9, 0))
    for name, rate in (  # noqa: B007
        ("missing", MISSING_RATE),
        ("repeated", REPEATED_RATE),
        ("fold", FOLD_RATE),
        ("slip", SLIP_RATE),
        ("blur", BLUR_RATE),
    ):
        if chance < rate:
            break
        chance -= rate
    else:
        return section
    section = section._replace(damaged=name)
    if name == "missing":
        return section._replace(missing=True)
    if name == "repeated":
        return section._replace(source=index - 1)
    if name == "fold":
        return section._replace(fold_nm=120.0 + 260.0 * a, fold_angle=math.pi * b, wobble_nm=25.0)
    if name == "slip":
        size, angle = 60.0 + 260.0 * a, 2.0 * math.pi * b
        moved = (shift[0] + size * math.sin(angle), shift[1] + size * math.cos(angle))
        return section._replace(shift_nm=moved)
    return section._replace(blur=1.5 + 1.3 * a, noise=grain * 0.8)


@compiled
def displace(key, index, y, x, shift_y, shift_x, wobble, fold, angle):
    """Find the tissue that a point of a section shows.

    Returns:
        y, x of the tissue, in nm, and how dark the fold is there, 0 to 1.
    """
    a, b, _ = _noise_vector(key, index * 5.0, y / 1700.0, x / 1700.0)
    py, px = y + shift_y + wobble * a, x + shift_x + wobble * b
    if fold == 0.0:
        return py, px, 0.0
    c, s = np.cos(angle), np.sin(angle)
    across, along = c * y + s * x, c * x - s * y
    across += 500.0 * _noise_line(key ^ np.uint64(5), along / 2600.0)
    across += 70.0 * _noise_line(key ^ np.uint64(7), along / 500.0)
    line = np.floor(across / FOLD_SPACING_NM)
    middle = (line + 0.3 + 0.4 * _draw(key, np.int64(index), np.int64(line), 8)) * FOLD_SPACING_NM
    away = across - middle
    # The two sides are pulled together over the fold, and relax further away from it.
    pull = 0.5 * fold * np.exp(-abs(away) / FOLD_REACH_NM)
    pull = pull if away >= 0.0 else -pull
    width = 0.30 * fold * (1.0 + 0.45 * _noise_line(key ^ np.uint64(9), along / 700.0))
    dark = 1.0 / (1.0 + np.exp((abs(away) - width) / 9.0))
    return py + pull * c, px + pull * s, dark
