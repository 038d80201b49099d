"""What is measured of each object of a segmentation, and of each pair that touches; no jax."""
