"""One writer for each format, and how voxels are pooled and cast for it."""
