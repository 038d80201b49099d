"""Looking at volumes: layers of a neuroglancer page, and pictures of sections."""
