"""Measures each object of a segmentation, and each pair of objects that touch; no jax."""
