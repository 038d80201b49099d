"""Skeletons of neurites, and the files that they come in."""
