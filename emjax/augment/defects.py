"""Operators that imitate defects of serial-section EM: lost and blurred sections, folds, shifts.

Each operator maps `[z, y, x]` float32 in [0, 1] to a volume, and returns which voxels it destroyed (`valid`) and
where the content of the others came from (`displacement`), so that losses can tell a defect from the tissue.
Parameters default to those of the released code (arXiv:2308.09917); with `probability` 0 an operator is the
identity, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emjax.augment.geometry import Warped, happens, inside_section, sample_sections, whole_numbers
from emjax.augment.intensity import filter_plane, gaussian_matrix

# The released number of cuboids is for a crop of this many voxels; other crops get the same density (our choice).
CUTOUT_REFERENCE = 18 * 160 * 160


def undisplaced(volume: jax.Array, valid: jax.Array | None = None) -> Warped:
    """Wraps a volume whose content stayed in place."""
    everywhere = jnp.ones(volume.shape, bool)
    return Warped(
        volume, jnp.zeros((*volume.shape, 2), jnp.float32), everywhere if valid is None else valid
    )


def cuboid_mask(
    starts: jax.Array, sizes: jax.Array, used: jax.Array, shape: Sequence[int]
) -> jax.Array:
    """Returns the union of cuboids, computed as one product of their separable indicators.

    Args:
        starts: `[k, 3]` int32 first voxels.
        sizes: `[3]` int32 common size.
        used: `[k]` bool, which cuboids count.
        shape: (z, y, x).

    Returns:
        `[z, y, x]` bool.
    """
    within = []
    for axis, n in enumerate(shape):
        position = jnp.arange(n)[None, :] - starts[:, axis, None]
        within.append(((position >= 0) & (position < sizes[axis])).astype(jnp.float32))
    counts = jnp.einsum("kz,ky,kx->zyx", within[0] * used[:, None], within[1], within[2])
    return counts > 0.5


def cutout(
    key: jax.Array,
    volume: jax.Array,
    count_range: tuple[int, int] = (60, 100),
    depth_range: tuple[int, int] = (5, 10),
    side_range: tuple[int, int] = (10, 20),
    probability: jax.Array | float = 1.0,
) -> Warped:
    """Operator 6: black cuboids, all of one size.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        count_range: fewest and most cuboids in 18 x 160 x 160 voxels; scaled to the volume's size.
        depth_range: smallest and largest size in z, voxels; at most half the volume's.
        side_range: smallest and largest size in y and x, voxels; at most half the volume's.
        probability: probability that the operator acts.
    """
    depth, height, width = volume.shape
    density = volume.size / CUTOUT_REFERENCE
    fewest, most = (max(1, round(n * density)) for n in count_range)
    draws = jax.random.uniform(key, (4 + 3 * most,))
    used = jnp.arange(most) < whole_numbers(draws[0], fewest, most)
    thickness = jnp.minimum(whole_numbers(draws[1], *depth_range), max(1, depth // 2))
    side = jnp.minimum(whole_numbers(draws[2], *side_range), max(1, min(height, width) // 2))
    sizes = jnp.stack([thickness, side, side])
    starts = whole_numbers(draws[4:].reshape(most, 3), 0, jnp.asarray(volume.shape) - sizes)
    mask = cuboid_mask(starts, sizes, used, volume.shape) & (draws[3] < probability)
    return undisplaced(jnp.where(mask, 0.0, volume), ~mask)


def shift_sections(volume: jax.Array, shifts: jax.Array) -> Warped:
    """Moves each section by whole voxels, mirrored at the border.

    Args:
        volume: `[z, y, x]` float32.
        shifts: `[z, 2]` int32 (dy, dx) voxels: the content at p was at p + shift.
    """
    y = jnp.arange(volume.shape[1])[None, :, None] + shifts[:, 0, None, None]
    x = jnp.arange(volume.shape[2])[None, None, :] + shifts[:, 1, None, None]
    field = jnp.broadcast_to(shifts[:, None, None, :], (*volume.shape, 2)).astype(jnp.float32)
    moved = sample_sections(volume, y + 0 * x, x + 0 * y, nearest=True)
    return Warped(moved, field, inside_section(y, x, volume.shape))


def misalign(
    key: jax.Array,
    volume: jax.Array,
    largest_shift: int = 17,
    section_probability: float = 0.2,
    probability: jax.Array | float = 1.0,
) -> Warped:
    """Operator 9: sections out of register, by slips of single sections or by one step.

    Slip: each section that is hit, with `section_probability`, moves by itself. Step: the first section that is hit
    and all that follow move together.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        largest_shift: shifts are uniform in [-largest_shift, largest_shift] in y and x, voxels; at
            most a quarter of the side (our choice, for crops smaller than the released ones).
        section_probability: probability that a section is hit.
        probability: probability that the operator acts.
    """
    depth = volume.shape[0]
    largest_shift = min(largest_shift, *(n // 4 for n in volume.shape[1:]))
    draws = jax.random.uniform(key, (2 + 3 * depth,))
    hit = draws[2 : 2 + depth] < section_probability
    slips = whole_numbers(draws[2 + depth :].reshape(depth, 2), -largest_shift, largest_shift)
    first = jnp.argmax(hit)
    moved_by_step = jnp.any(hit) & (jnp.arange(depth) >= first)
    by_step = moved_by_step[:, None] * slips[first]
    shifts = jnp.where(draws[0] < 0.5, by_step, hit[:, None] * slips)
    return shift_sections(volume, jnp.where(draws[1] < probability, shifts, 0))


def fold_field(
    shape: Sequence[int],
    start: jax.Array,
    stop: jax.Array,
    half_width: jax.Array,
    width: jax.Array,
    slope: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns the displacement and the black band of a fold along a line through one section.

    A voxel at distance a > half_width from the line shows tissue from distance
    `a + max(0, width - half_width - slope (a - half_width))`, so the tissue nearer than `width` has
    vanished in the fold.

    Args:
        shape: (y, x) of the section.
        start: `[2]` float32, a point of the line, y x.
        stop: `[2]` float32, another point of the line.
        half_width: half the width of the band, voxels.
        width: distance from the line up to which tissue vanishes, voxels.
        slope: decay of the displacement with the distance.

    Returns:
        displacement `[y, x, 2]` float32, voxels, and the band `[y, x]` bool.
    """
    direction = stop - start
    length = jnp.maximum(jnp.sqrt(jnp.sum(direction**2)), 1e-6)
    normal = jnp.stack([-direction[1], direction[0]]) / length
    y, x = jnp.arange(shape[0])[:, None] - start[0], jnp.arange(shape[1])[None, :] - start[1]
    distance = y * normal[0] + x * normal[1]
    beyond = jnp.maximum(0, jnp.abs(distance) - half_width)
    # Inside the band, the field continues as at its edge, which keeps it smooth where points are looked up.
    amount = jnp.sign(distance) * jnp.maximum(0, width - half_width - slope * beyond)
    return amount[..., None] * normal, jnp.abs(distance) <= half_width


def fold(
    key: jax.Array,
    volume: jax.Array,
    most_sections: int = 5,
    half_width_range: tuple[int, int] = (5, 10),
    largest_width: int = 40,
    slope_range: tuple[float, float] = (1e-5, 0.1),
    margin: int = 40,
    probability: jax.Array | float = 1.0,
) -> Warped:
    """Operator 11: folds, black bands along random lines with the tissue drawn towards them.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        most_sections: the number of folded sections is uniform from 1 to this.
        half_width_range: smallest and largest half width of the band, voxels.
        largest_width: the fold's width is uniform from the half width + 1 to this, voxels.
        slope_range: smallest and largest decay of the displacement.
        margin: the line joins two sides of the section after enlarging it by this many voxels.
        probability: probability that the operator acts.
    """
    depth, height, width = volume.shape
    slots = min(most_sections, depth)
    draws = jax.random.uniform(key, (2 + depth + 7 * slots,))
    # Only the chosen sections are warped, so that the cost does not grow with the depth.
    chosen = jax.lax.top_k(draws[2 : 2 + depth], slots)[1]
    active = jnp.arange(slots) < whole_numbers(draws[0], 1, slots)
    active = active & (draws[1] < probability)
    side, turn, along, across, half, wide, steep = draws[2 + depth :].reshape(7, slots)
    first_side = whole_numbers(side, 0, 3)
    second_side = (first_side + whole_numbers(turn, 1, 3)) % 4

    def point(side: jax.Array, t: jax.Array) -> jax.Array:
        y = jnp.select([side == 0, side == 2], [0.0, 1.0], t) * (height - 1 + 2 * margin) - margin
        x = jnp.select([side == 3, side == 1], [0.0, 1.0], t) * (width - 1 + 2 * margin) - margin
        return jnp.stack([y, x], axis=-1)

    half_width = whole_numbers(half, *half_width_range)
    fold_width = whole_numbers(wide, half_width + 1, largest_width)
    slope = slope_range[0] + (slope_range[1] - slope_range[0]) * steep
    field, band = jax.vmap(lambda *line: fold_field((height, width), *line))(
        point(first_side, along), point(second_side, across), half_width, fold_width, slope
    )
    y = jnp.arange(height)[None, :, None] + field[..., 0]
    x = jnp.arange(width)[None, None, :] + field[..., 1]
    folded = jnp.where(band, 0.0, jnp.clip(sample_sections(volume[chosen], y, x), 0, 1))
    valid = inside_section(y, x, volume.shape) & ~band

    match = (jnp.arange(depth)[:, None] == chosen[None, :]) & active
    slot, hit = jnp.argmax(match, axis=1), jnp.any(match, axis=1)[:, None, None]
    return Warped(
        jnp.where(hit, folded[slot], volume),
        jnp.where(hit[..., None], field[slot], 0.0),
        jnp.where(hit, valid[slot], True),
    )


def draw_patches(
    key: jax.Array, shape: Sequence[int], whole_probability: float, part_probability: float
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array], jax.Array]:
    """Draws, with equal probability, whole sections or a rectangle in each of some sections.

    The sides of a rectangle are 30 to 70 % of the section's sides, and its place is uniform.

    Returns:
        (start, stop) in y, (start, stop) in x, each `[z]` int32, and which sections are hit,
        `[z]` bool.
    """
    depth = shape[0]
    draws = jax.random.uniform(key, (1 + 5 * depth,))
    part, (chance, *places) = draws[0] < 0.5, draws[1:].reshape(5, depth)
    hit = chance < jnp.where(part, part_probability, whole_probability)
    bounds = []
    for size, length_draw, start_draw in zip(shape[1:], places[:2], places[2:], strict=True):
        length = jnp.maximum(1, whole_numbers(length_draw, int(0.3 * size), int(0.7 * size)))
        start = whole_numbers(start_draw, 0, jnp.maximum(0, size - length - 1))
        bounds.append((jnp.where(part, start, 0), jnp.where(part, start + length, size)))
    return bounds[0], bounds[1], hit


def patch_mask(
    y_bounds: tuple[jax.Array, jax.Array],
    x_bounds: tuple[jax.Array, jax.Array],
    hit: jax.Array,
    shape: Sequence[int],
) -> jax.Array:
    """Returns the mask `[z, y, x]` of the patches that `draw_patches` drew."""
    y, x = jnp.arange(shape[1])[None, :], jnp.arange(shape[2])[None, :]
    rows = (y >= y_bounds[0][:, None]) & (y < y_bounds[1][:, None])
    columns = (x >= x_bounds[0][:, None]) & (x < x_bounds[1][:, None])
    return rows[:, :, None] & columns[:, None, :] & hit[:, None, None]


def missing(
    key: jax.Array,
    volume: jax.Array,
    whole_probability: float = 0.2,
    part_probability: float = 0.5,
    probability: jax.Array | float = 1.0,
) -> Warped:
    """Operator 12: black sections, or black rectangles in sections, with equal probability.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        whole_probability: probability that a section is lost, if whole sections are.
        part_probability: probability that a section loses a rectangle, if rectangles are lost.
        probability: probability that the operator acts.
    """
    act_key, key = jax.random.split(key)
    patches = draw_patches(key, volume.shape, whole_probability, part_probability)
    mask = patch_mask(*patches, volume.shape) & happens(act_key, probability)
    return undisplaced(jnp.where(mask, 0.0, volume), ~mask)


def section_blur(
    key: jax.Array,
    volume: jax.Array,
    sigma_range: tuple[float, float] = (0.0, 5.0),
    whole_probability: float = 0.5,
    part_probability: float = 0.7,
    probability: jax.Array | float = 1.0,
) -> jax.Array:
    """Operator 13: sections out of focus, or rectangles in sections, with equal probability.

    Args:
        key: typed PRNG key.
        volume: `[z, y, x]` float32 in [0, 1].
        sigma_range: smallest and largest standard deviation, voxels; kernels reach four standard deviations.
        whole_probability: probability that a section is blurred, if whole sections are.
        part_probability: probability that a rectangle of a section is blurred, if rectangles are.
        probability: probability that the operator acts.
    """
    act_key, sigma_key, key = jax.random.split(key, 3)
    y_bounds, x_bounds, hit = draw_patches(key, volume.shape, whole_probability, part_probability)
    sigma = jax.random.uniform(
        sigma_key, (volume.shape[0],), minval=sigma_range[0], maxval=sigma_range[1]
    )
    radius = jnp.floor(4 * sigma + 0.5)
    along_y, along_x = (
        gaussian_matrix(n, sigma, radius, *bounds, repeat_border=True)
        for n, bounds in ((volume.shape[1], y_bounds), (volume.shape[2], x_bounds))
    )
    blurred = jnp.clip(filter_plane(volume, along_y, along_x), 0, 1)
    mask = patch_mask(y_bounds, x_bounds, hit, volume.shape) & happens(act_key, probability)
    return jnp.where(mask, blurred, volume)
