"""Boxes and block grids in voxels, z y x; numpy only."""
