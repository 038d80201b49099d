"""Scores, computed on the host with numpy; never imports jax."""
