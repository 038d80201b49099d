"""Skeletons for neuroglancer, byte by byte."""

from __future__ import annotations

import json
import struct

import numpy as np

from emjax.skeletons.precomputed import write_info, write_skeleton
from emjax.skeletons.skeleton import Skeleton


def test_a_file_by_hand(tmp_path):
    positions = np.asarray([[1.0, 2, 3], [4, 5, 6]])
    tree = Skeleton(positions, np.asarray([-1, 0]), np.asarray([7.0, 8]))
    write_skeleton(tmp_path, 42, tree)
    expected = struct.pack("<2I6f2I2f", 2, 1, 3, 2, 1, 6, 5, 4, 1, 0, 7, 8)
    assert (tmp_path / "42").read_bytes() == expected


def test_the_info_names_the_radius(tmp_path):
    write_info(tmp_path / "s")
    info = json.loads((tmp_path / "s" / "info").read_text())
    assert info["@type"] == "neuroglancer_skeletons" and len(info["transform"]) == 12
    assert info["vertex_attributes"][0]["id"] == "radius"
