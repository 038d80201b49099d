"""Randomness of the synthetic tissue: integer hashes of lattice coordinates, and smooth noise.

Nothing here has a state. A value depends on a key and on integer coordinates alone, which is what
lets any crop of an endless volume be made without the rest of it. Everything is compiled by numba
without fast-math, so that a voxel gets the same bits whatever loop it was computed in.
"""

from __future__ import annotations

import functools

import numpy as np

from emjax.compiled import compiled
from emjax.geometry.sizes import Triple

_ODD_A = np.uint64(0x9E3779B97F4A7C15)
_ODD_B = np.uint64(0xBF58476D1CE4E5B9)
_ODD_C = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_S21, _S42 = np.uint64(21), np.uint64(42)
_LOW21 = np.uint64((1 << 21) - 1)
_LOW16 = np.uint64((1 << 16) - 1)
_S16, _S32, _S48 = np.uint64(16), np.uint64(32), np.uint64(48)


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of splitmix64).

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    value = (value ^ (value >> _S30)) * _ODD_B
    value = (value ^ (value >> _S27)) * _ODD_C
    return value ^ (value >> _S31)


@functools.partial(compiled, signature="uint64(uint64, int64, int64, int64)")
def hashed(key: np.uint64, a: int, b: int, c: int) -> np.uint64:
    """Hash three signed integers under a key."""
    h = mix(key + np.uint64(a) * _ODD_A)
    h = mix(h + np.uint64(b) * _ODD_A)
    return mix(h + np.uint64(c) * _ODD_A)


@compiled
def uniform(value: np.uint64) -> float:
    """Turn a hash into a number in [0, 1)."""
    return np.float64(value >> _S11) * (1.0 / 9007199254740992.0)


@functools.partial(compiled, signature="float64(uint64, int64, int64, int64)")
def draw(key: np.uint64, a: int, b: int, c: int) -> float:
    """Draw the number in [0, 1) that belongs to three integers."""
    return uniform(hashed(key, a, b, c))


@compiled
def normal(value: np.uint64) -> float:
    """Turn a hash into a nearly normal number (four uniforms summed; at most 3.46 in size)."""
    total = np.float64(value & _LOW16) + np.float64((value >> _S16) & _LOW16)
    total += np.float64((value >> _S32) & _LOW16) + np.float64(value >> _S48)
    return (total * (1.0 / 65536.0) - 2.0) * 1.7320508075688772


@compiled
def _eased(t: float) -> float:
    return t * t * (3.0 - 2.0 * t)


@compiled
def noise_line(key: np.uint64, t: float) -> float:
    """Smooth noise in [-1, 1] of one coordinate, in units of the lattice spacing."""
    low = np.int64(np.floor(t))
    w = _eased(t - low)
    a = draw(key, low, 0, 0)
    b = draw(key, low + 1, 0, 0)
    return 2.0 * (a + (b - a) * w) - 1.0


@compiled
def noise(key: np.uint64, z: float, y: float, x: float) -> float:
    """Smooth noise in [-1, 1] of a point, in units of the lattice spacing."""
    zi, yi, xi = np.int64(np.floor(z)), np.int64(np.floor(y)), np.int64(np.floor(x))
    wz, wy, wx = _eased(z - zi), _eased(y - yi), _eased(x - xi)
    total = 0.0
    for dz in range(2):
        az = wz if dz else 1.0 - wz
        hz = mix(key + np.uint64(zi + dz) * _ODD_A)
        for dy in range(2):
            ay = az * (wy if dy else 1.0 - wy)
            hy = mix(hz + np.uint64(yi + dy) * _ODD_A)
            total += ay * (1.0 - wx) * uniform(mix(hy + np.uint64(xi) * _ODD_A))
            total += ay * wx * uniform(mix(hy + np.uint64(xi + 1) * _ODD_A))
    return 2.0 * total - 1.0


@compiled
def noise_vector(key: np.uint64, z: float, y: float, x: float) -> Triple:
    """Smooth vector noise: three components in [-1, 1] cut from one hash a corner."""
    zi, yi, xi = np.int64(np.floor(z)), np.int64(np.floor(y)), np.int64(np.floor(x))
    wz, wy, wx = _eased(z - zi), _eased(y - yi), _eased(x - xi)
    a, b, c = 0.0, 0.0, 0.0
    for dz in range(2):
        az = wz if dz else 1.0 - wz
        hz = mix(key + np.uint64(zi + dz) * _ODD_A)
        for dy in range(2):
            ay = az * (wy if dy else 1.0 - wy)
            hy = mix(hz + np.uint64(yi + dy) * _ODD_A)
            for dx in range(2):
                w = ay * (wx if dx else 1.0 - wx)
                h = mix(hy + np.uint64(xi + dx) * _ODD_A)
                a += w * np.float64(h & _LOW21)
                b += w * np.float64((h >> _S21) & _LOW21)
                c += w * np.float64((h >> _S42) & _LOW21)
    scale = 2.0 / 2097151.0
    return a * scale - 1.0, b * scale - 1.0, c * scale - 1.0


def key_of(seed: int, *names: int) -> np.uint64:
    """Derive the key of a stream from the seed of the volume and small integers."""
    value = (int(seed) * int(_ODD_A) + int(_ODD_B)) % (1 << 64)
    for name in names:
        value = (value ^ (name + 0x632BE59BD9B4E019)) * int(_ODD_C) % (1 << 64)
        value ^= value >> 29
    return np.uint64(value)
