"""Volumes by address: every format as one lazily read TensorStore with axes z, y, x."""
