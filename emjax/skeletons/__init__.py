"""Skeletons of neurites, and their file format."""
