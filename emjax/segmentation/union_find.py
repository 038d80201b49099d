"""Disjoint sets of voxels: each voxel points to an earlier voxel of its set; the root is the first voxel of the set."""

from __future__ import annotations

from emjax.compiled import compiled


@compiled
def root_of(parents, voxel):
    """Returns the root of a voxel's set, halving the path on the way; changes `parents`."""
    while parents[voxel] != voxel:
        parents[voxel] = parents[parents[voxel]]
        voxel = parents[voxel]
    return voxel
