"""The look of the synthetic tissue: membranes, organelles, vesicles, synapses, grain.

Grey levels 0 to 255, dark is stained. A section is as thick as the spacing of the sections, so
whatever lies oblique to it is smeared: every edge is widened by the share of the thickness that
its slope carries across the plane. All numbers are our choice, set by eye beside real volumes.
"""

from __future__ import annotations

import numpy as np

from emjax.compiled import compiled
from emjax.volumes.generator import defects as _defects
from emjax.volumes.generator import geometry as _geometry
from emjax.volumes.generator import lookup as _lookup
from emjax.volumes.generator import noise as _noise

_draw, _hashed, _value_noise, _normal = _noise.draw, _noise.hashed, _noise.noise, _noise.normal
_noise_vector = _noise.noise_vector
_warp, _to_segment = _geometry.warp, _geometry.to_segment
_brick_of, _owner_at, _displace = _lookup.brick_of, _lookup.owner_at, _defects.displace
_MITOCHONDRION, _FAMILY_SHIFT = _geometry.MITOCHONDRION, _geometry.FAMILY_SHIFT

IMAGE, NEURONS, MITOCHONDRIA, CLEFTS = 0, 1, 2, 3

_POCKET_NM = 16.0  # extracellular space wider than this is labelled 0
_CLEFT_NM = 22.0  # half the thickness of a cleft label
_VESICLE_NM, _VESICLE_CELL_NM = 21.0, 54.0
_SHEATH_NM = 95.0  # myelin
_SMEAR = 0.29  # standard deviation of a uniform slab, per unit of thickness


@compiled
def _step(distance: float, width: float) -> float:
    """Go from 1 inside (negative) to 0 outside over about two widths."""
    t = distance / (1.7 * width)
    if t < -6.0:
        return 1.0
    if t > 6.0:
        return 0.0
    return 1.0 / (1.0 + np.exp(2.0 * t))


@compiled
def _ridge(distance: float, width: float, smear: float) -> float:
    """A dark line of standard deviation `width`, flattened as `smear` widens it."""
    total = width * width + smear * smear
    t = distance * distance / total
    if t > 24.0:
        return 0.0
    return width / np.sqrt(total) * np.exp(-0.5 * t)


@compiled
def _mitochondrion(key, part, deep, along, z, y, x, smear):
    """Grey of a mitochondrion `deep` nm inside its outer membrane."""
    h = _hashed(key, part, 1, 2)
    matrix = 74.0 + 36.0 * _draw(h, 1, 0, 0)
    # Cristae: broken bright lines between paired dark ones, bent by noise.
    bend = _value_noise(h, z / 130.0, y / 130.0, x / 130.0)
    phase = along / (58.0 + 25.0 * _draw(h, 2, 0, 0)) + 0.85 * bend
    off = abs(phase - np.floor(phase) - 0.5) * 75.0
    here = _value_noise(h ^ np.uint64(3), z / 95.0, y / 95.0, x / 95.0)
    present = min(max(0.6 + 1.5 * here, 0.0), 1.0) * min(max((deep - 14.0) / 20.0, 0.0), 1.0)
    lumen = _ridge(off, 6.5, 0.4 * smear) - 0.75 * _ridge(off - 15.0, 5.5, 0.4 * smear)
    matrix += 13.0 * _value_noise(h ^ np.uint64(4), z / 35.0, y / 24.0, x / 24.0)
    return matrix + (20.0 + 34.0 * _draw(h, 3, 0, 0)) * present * lumen


@compiled
def _vesicles(key, z, y, x, half, density):
    """Change the grey by vesicles: rings about 40 nm wide on a jittered lattice."""
    change = 0.0
    i, j = np.floor(z / _VESICLE_CELL_NM), np.floor(y / _VESICLE_CELL_NM)
    k = np.floor(x / _VESICLE_CELL_NM)
    for n in range(27):
        a, b, c = i + n // 9 - 1, j + n // 3 % 3 - 1, k + n % 3 - 1
        h = _hashed(key, np.int64(a), np.int64(b), np.int64(c))
        if _draw(h, 0, 0, 0) > density:
            continue
        dy = (b + _draw(h, 2, 0, 0)) * _VESICLE_CELL_NM - y
        dx = (c + _draw(h, 3, 0, 0)) * _VESICLE_CELL_NM - x
        if dy * dy + dx * dx > 1600.0:
            continue
        # Through the thickness of the section the ring is seen as a whole.
        dz = abs((a + _draw(h, 1, 0, 0)) * _VESICLE_CELL_NM - z)
        cut = max(dz - half, 0.0)
        radius = _VESICLE_NM * (0.85 + 0.3 * _draw(h, 4, 0, 0))
        d = np.sqrt(cut * cut + dy * dy + dx * dx)
        change -= 62.0 * _ridge(d - radius + 4.0, 5.0, 3.0)
        change -= 10.0 * _step(d - radius, 4.0)
    return max(change, -75.0)


@compiled
def _cytoplasm(key, own, z, y, x, thick, away):
    """Grey of the cytoplasm: a level of the neurite's own, clumps, and fine granules."""
    h = _hashed(key, own, 3, 3)
    level = 184.0 + 34.0 * (_draw(h, 1, 0, 0) - 0.5)
    if _draw(h, 2, 0, 0) < 0.14:
        level -= 36.0  # a dark process, as glia and some axons are
    # No granules within the membrane.
    grain = (0.8 + 1.2 * _draw(h, 4, 0, 0)) * min(0.15 + away / 45.0, 1.0)
    # Each lattice is turned its own way in the plane, or its axes would show as crosses.
    fine = _value_noise(
        key ^ np.uint64(41), z / thick, (0.83 * y + 0.56 * x) / 16.0, (0.83 * x - 0.56 * y) / 16.0
    )
    turned_y, turned_x = 0.93 * y - 0.37 * x, 0.93 * x + 0.37 * y
    deep = z / (thick + 8.0)
    middle = _value_noise(
        key ^ np.uint64(42), deep, turned_y / 33.0 + 0.6 * deep, turned_x / 33.0 - 0.8 * deep
    )
    middle += 0.6 * _value_noise(
        key ^ np.uint64(44), deep, (0.5 * y + 0.87 * x) / 29.0, (0.87 * y - 0.5 * x) / 29.0
    )
    coarse = _value_noise(key ^ np.uint64(43), z / 150.0, y / 150.0, x / 150.0)
    dots = min(middle + 0.45, 0.0)  # granules are dark and sparse
    return level + grain * (11.0 * fine + 16.0 * middle + 60.0 * dots) + 13.0 * coarse


@compiled
def paint(
    key, what, z, thickness, index, plan_key, shift_y, shift_x, wobble, fold, angle,
    first_y, first_x, voxel_y, voxel_x, tissue, image, labels,
):  # fmt: skip
    """Paint one section: grey levels to `image` or ids to `labels`, both `[y, x]`."""
    neurites, owners = tissue[0], tissue[1]
    first, count, n_start, n_items = tissue[2]
    parts, part_owner, part_id, part_kind = tissue[3], tissue[4], tissue[5], tissue[6]
    p_start, p_items = tissue[7][2], tissue[7][3]
    sites, pairs = tissue[8], tissue[9]
    s_start, s_items = tissue[10][2], tissue[10][3]
    shape = image.shape if what == IMAGE else labels.shape
    half = 0.5 * thickness
    for row in range(shape[0]):
        for column in range(shape[1]):
            y, x, dark = _displace(
                plan_key, index, (first_y + row + 0.5) * voxel_y,
                (first_x + column + 0.5) * voxel_x, shift_y, shift_x, wobble, fold, angle,
            )  # fmt: skip
            brick = _brick_of(first, count, _lookup.BRICK_NM, z, y, x)
            wz, wy, wx = _warp(key, z, y, x)
            own, other, away, gz, _, _, radius = _owner_at(
                neurites, owners, n_start, n_items, brick, wz, wy, wx
            )
            open_space = _value_noise(key ^ np.uint64(61), z / 420.0, y / 420.0, x / 420.0)
            gap = 6.0 + 6.0 * open_space + 60.0 * max(open_space - 0.5, 0.0)
            family = (own >> _FAMILY_SHIFT) - 1
            sheath = 1 <= family <= 2 and _draw(key, own, 9, 9) < 0.05

            # The synapse whose face this is, and how dense its vesicles are here.
            cleft, density, thickening = np.int64(0), 0.0, 0.0
            for n in range(s_start[brick], s_start[brick + 1]):
                site = s_items[n]
                pre, post = pairs[site, 0], pairs[site, 1]
                if own != pre and own != post:
                    continue
                dz, dy, dx = z - sites[site, 0], y - sites[site, 1], x - sites[site, 2]
                far = np.sqrt(dz * dz + dy * dy + dx * dx)
                edge = far - sites[site, 3]
                if own == pre:
                    density = max(density, 0.75 * min(max((420.0 - far) / 260.0, 0.0), 1.0))
                if (other == pre or other == post) and edge < 60.0 and not sheath:
                    soft = _step(edge, 14.0)
                    strong = 1.0 if own == post else 0.35
                    if soft * strong > thickening:
                        thickening = soft * strong
                    if edge < 0.0 and away < _CLEFT_NM:
                        cleft = site + 1
            if what == NEURONS:
                outside = away < 0.5 * gap and gap > _POCKET_NM
                wrapped = sheath and away < _SHEATH_NM
                labels[row, column] = 0 if outside or wrapped else own
                continue
            if what == CLEFTS:
                if cleft > 0:
                    site = cleft - 1
                    cell = _hashed(
                        key, np.int64(np.floor(sites[site, 0])), np.int64(np.floor(sites[site, 1])),
                        np.int64(np.floor(sites[site, 2])),
                    )  # fmt: skip
                    labels[row, column] = np.int64(cell >> np.uint64(12))
                else:
                    labels[row, column] = 0
                continue

            # The nearest organelle of this neurite.
            nearest, part, kind, axis, slope = 1e30, np.int64(0), 0, 0.0, 0.0
            settled = False  # a mitochondrion is near: tubules keep out of it
            for n in range(p_start[brick], p_start[brick + 1]):
                m = p_items[n]
                if part_owner[m] != own:
                    continue
                if what == MITOCHONDRIA and part_kind[m] != _MITOCHONDRION:
                    continue
                d, r, pz, py, px = _to_segment(parts[m], wz, wy, wx)
                first_rank = part_kind[m] == _MITOCHONDRION and d - r < 24.0
                if settled and not first_rank:
                    continue
                if d - r < nearest or (first_rank and not settled):
                    settled = settled or first_rank
                    nearest, part, kind = d - r, part_id[m], part_kind[m]
                    slope = pz / (d + 1e-9)
                    ez, ey = parts[m, 3] - parts[m, 0], parts[m, 4] - parts[m, 1]
                    ex = parts[m, 5] - parts[m, 2]
                    length = np.sqrt(ez * ez + ey * ey + ex * ex) + 1e-9
                    tilt = 0.9 * (_draw(key, part, 4, 4) - 0.5)
                    axis = (pz + wz) * ez + wy * ey + wx * ex
                    axis = axis / length + tilt * (wy - wx)
            # Nothing comes closer to the membrane than 30 nm.
            inside = max(nearest, 30.0 + (_SHEATH_NM if sheath else 0.0) - away)
            if what == MITOCHONDRIA:
                labels[row, column] = part if inside < 0.0 and kind == _MITOCHONDRION else 0
                continue

            smear = _SMEAR * thickness * abs(gz)
            grey = _cytoplasm(key, own, z, y, x, max(thickness, 18.0), away)
            if density > 0.0 and inside > 18.0 and away > 26.0:
                grey += _vesicles(key ^ np.uint64(71), z, y, x, 0.4 * half, density)
            if nearest < 60.0 and part != 0:
                blur = np.sqrt(25.0 + (_SMEAR * thickness * slope) ** 2)
                fill = _step(inside, blur * 0.6)
                if kind == _MITOCHONDRION:
                    inner = _mitochondrion(key, part, -inside, axis, wz, wy, wx, smear)
                    grey += (inner - grey) * fill
                    grey -= 58.0 * _ridge(inside + 4.0, 7.0, blur * 0.8)
                    grey -= 26.0 * _ridge(inside + 19.0, 4.0, blur * 0.8)
                else:
                    hollow = _draw(key, part, 6, 6) < 0.5
                    grey += ((165.0 if hollow else 62.0) - grey) * fill
                    grey -= (75.0 if hollow else 30.0) * _ridge(inside, 5.5, 0.5 * blur)
            if sheath and away < _SHEATH_NM + 40.0:
                lamella = np.sin(away * 0.42)
                wrap = _step(away - _SHEATH_NM, 7.0)
                grey += (46.0 + 10.0 * lamella - grey) * wrap
            # Two membranes and the space between them.
            reach = 0.5 * gap + 4.5
            width = 5.2
            if away < 4.0 * (width + smear) + reach:
                stain = 118.0 + 30.0 * _value_noise(
                    key ^ np.uint64(62), z / 40.0, y / 47.0, x / 47.0
                )
                grey -= stain * _ridge(away - reach, width, smear)
                grey -= stain * _ridge(away + reach, width, smear)
            if gap > _POCKET_NM:
                grey += (190.0 - grey) * 0.6 * _step(away - 0.5 * gap + 6.0, 4.0 + smear)
            else:
                grey -= 24.0 * _ridge(away, 6.0, smear)
            if thickening > 0.0:
                grey -= 120.0 * thickening * _ridge(away - 17.0, 12.0, 0.6 * smear)
            grey += (30.0 - grey) * 0.93 * dark
            image[row, column] = max(grey, 18.0)


@compiled
def blur_section(source, weights):
    """Blur `[y + 2 h, x + 2 h]` to `[y, x]` by a separable kernel of `2 h + 1` weights.

    Sums run in one fixed order, so that a pixel does not depend on the size of the crop.
    """
    halo = len(weights) // 2
    height, width = source.shape[0] - 2 * halo, source.shape[1] - 2 * halo
    rows = np.zeros((height, source.shape[1]))
    for n in range(len(weights)):
        for row in range(height):
            for column in range(source.shape[1]):
                rows[row, column] += weights[n] * source[row + n, column]
    result = np.zeros((height, width))
    for row in range(height):
        for n in range(len(weights)):
            for column in range(width):
                result[row, column] += weights[n] * rows[row, column + n]
    return result


@compiled
def expose(key, index, z, first_y, first_x, voxel_y, voxel_x, gain, offset, noise, missing, source):
    """Turn clean grey levels `[y, x]` into what the detector counts, uint8."""
    result = np.empty(source.shape, np.uint8)
    for row in range(source.shape[0]):
        for column in range(source.shape[1]):
            h = _hashed(key, index, first_y + row, first_x + column)
            grey = 2.0 + 1.5 * _normal(h)
            if not missing:
                y, x = (first_y + row) * voxel_y, (first_x + column) * voxel_x
                drift, other, _ = _noise_vector(
                    key ^ np.uint64(3), z / 900.0, y / 6500.0, x / 6500.0
                )
                grey = source[row, column]
                # Counts: the noise grows with the square root of the signal.
                grey += noise * np.sqrt(max(grey, 20.0) / 140.0) * _normal(h)
                grey = 140.0 + (grey - 140.0) * gain * (1.0 + 0.10 * other) + offset
                grey += 14.0 * drift
            result[row, column] = np.uint8(min(max(np.floor(grey + 0.5), 0.0), 255.0))
    return result
