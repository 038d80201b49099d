"""Skeletons of neurites: trees of points as arrays, their files, and what is done with them; the one place for SWC."""
