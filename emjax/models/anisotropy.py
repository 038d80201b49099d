"""Chooses where a network pools along z: only where its voxels are about isotropic."""

from __future__ import annotations

from collections.abc import Sequence

from emjax.geometry.sizes import Size

# A voxel that is longer in z than in the plane by up to this factor still counts as isotropic: the geometric middle of
# 1 and 2, so that pooling z makes it no less isotropic than leaving it.
LONGEST = 2**0.5


def pooling_strides(voxel_nm: Sequence[float], crop_size: Size, count: int) -> tuple[Size, ...]:
    """Chooses the poolings of a U-Net, so that one preset suits both 50x4x4 and 10x10x10 nm.

    Args:
        voxel_nm: (z, y, x) nm; empty where it is unknown or mixed: then z is never pooled.
        crop_size: (z, y, x) voxels; z is pooled only as long as it can be halved.
        count: number of poolings.

    Returns:
        (z, y, x) stride of each pooling, fine to coarse: always 2 in the plane, and 2 along z where the voxel is at
        most 1.4 times as long in z (our choice; the paper pools in the plane only).
    """
    if not voxel_nm:
        return ((1, 2, 2),) * count
    z_nm, plane_nm, depth = voxel_nm[0], min(voxel_nm[1:]), crop_size[0]
    strides = []
    for _ in range(count):
        pooled = 2 if z_nm <= LONGEST * plane_nm and depth % 2 == 0 else 1
        strides.append((pooled, 2, 2))
        z_nm, plane_nm, depth = z_nm * pooled, plane_nm * 2, depth // pooled
    return tuple(strides)
