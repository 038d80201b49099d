"""Augmentation in pure JAX: each function takes one key and one volume, and returns one volume."""
