"""Shows volumes: as layers of a neuroglancer page, and as pictures of sections."""
