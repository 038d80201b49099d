"""The writers: one for each format, with pooling and casting of voxels."""
