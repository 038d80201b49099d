"""Skeletons as neuroglancer shows them: a folder with a file for each object."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from emjax.runs.whole_file import write_whole
from emjax.skeletons.skeleton import Skeleton

_INFO = {
    "@type": "neuroglancer_skeletons",
    # Positions are nm already: rows of a 3 x 4 matrix.
    "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
    "vertex_attributes": [{"id": "radius", "data_type": "float32", "num_components": 1}],
}


def write_info(folder: str | os.PathLike[str]) -> None:
    """Writes the file that makes a folder a source of skeletons: `precomputed://FOLDER`.

    Args:
        folder: which is made.

    Raises:
        OSError: if it cannot be written.
    """
    write_whole(Path(folder) / "info", (json.dumps(_INFO, indent=2) + "\n").encode())


def write_skeleton(folder: str | os.PathLike[str], number: int, skeleton: Skeleton) -> None:
    """Writes the skeleton of an object.

    Args:
        folder: of the source.
        number: id of the object.
        skeleton: nm.

    Raises:
        OSError: if it cannot be written.

    Source: the format as neuroglancer documents it, "Precomputed skeleton format": number of vertices, number of edges,
    x, y, z of each vertex, two vertices of each edge, the radii; little-endian.
    """
    edges = skeleton.edges
    parts = [
        np.asarray([len(skeleton), len(edges)], "<u4"),
        skeleton.positions[:, ::-1].astype("<f4"),
        edges.astype("<u4"),
        skeleton.radii.astype("<f4"),
    ]
    write_whole(Path(folder) / str(number), b"".join(part.tobytes() for part in parts))
