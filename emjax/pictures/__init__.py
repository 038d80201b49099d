"""Pictures of runs and segmentations, as arrays and PNG files."""
