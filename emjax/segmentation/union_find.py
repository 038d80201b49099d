"""Disjoint sets of voxels: each voxel points to one before it in its set, and the root is the first voxel of all."""

from __future__ import annotations

from emjax.compiled import compiled


@compiled
def root_of(parents, voxel):
    """Returns the first voxel of a voxel's set, halving the path on the way; `parents` is changed."""
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel
