"""Augmentation in pure JAX: one key and one volume in, one volume out."""
