"""Scores of segmentations, images and features, computed on the host with numpy; no jax."""
