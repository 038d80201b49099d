"""Chooses where a network pools along z: only where its voxels are about isotropic."""

from __future__ import annotations

from collections.abc import Sequence

from emjax.geometry.sizes import Size

# A voxel that is longer in z than in the plane by up to this factor still counts as isotropic: the geometric middle of
# 1 and 2, so that pooling z makes it no less isotropic than leaving it.
LONGEST = 2**0.5


def pooling_strides(voxel_nm: Sequence[float], count: int) -> tuple[Size, ...]:
    """Chooses the poolings of a U-Net, so that one preset suits both 50x4x4 and 10x10x10 nm.

    The size of the crops has no say: the same volumes always give the same network, and crops that do not fit it are
    refused.

    Args:
        voxel_nm: (z, y, x) nm; empty where it is unknown: then z is never pooled.
        count: number of poolings.

    Returns:
        (z, y, x) stride of each pooling, fine to coarse: always 2 in the plane, and 2 along z where the voxel is at
        most 1.4 times as long in z (our choice; the paper pools in the plane only).
    """
    if not voxel_nm:
        return ((1, 2, 2),) * count
    z_nm, plane_nm = voxel_nm[0], min(voxel_nm[1:])
    strides = []
    for _ in range(count):
        pooled = 2 if z_nm <= LONGEST * plane_nm else 1
        strides.append((pooled, 2, 2))
        z_nm, plane_nm = z_nm * pooled, plane_nm * 2
    return tuple(strides)


def most_anisotropic(sizes: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Returns the voxel size that decides where a network for several volumes pools along z.

    Where z may be pooled depends only on how much longer than wide a voxel is, so what suits the longest suits all.

    Args:
        sizes: (z, y, x) nm of each volume; empty where it is unknown.

    Returns:
        The size that is longest in z compared with the plane; empty if any is unknown.
    """
    if not all(len(size) for size in sizes):
        return ()
    return tuple(max(sizes, key=lambda size: size[0] / min(size[1:])))
