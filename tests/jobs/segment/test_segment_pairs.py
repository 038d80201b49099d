"""Pairs of synaptic sides, segmented in several cells: the ids are those of one cell, and pairs stay pairs."""

from __future__ import annotations

import numpy as np

from emjax.volumes.create import create_volume
from emjax.volumes.store import open_volume

from ..running import run_command


def test_pairs_do_not_depend_on_cells(tmp_path):
    labels = np.zeros((8, 32, 48), np.uint64)
    for n, (y, x) in enumerate(((4, 4), (6, 20), (18, 34))):
        labels[1:7, y : y + 5, x : x + 8] = 2 * n + 1
        labels[1:7, y + 5 : y + 10, x : x + 8] = 2 * n + 2
    pre, post = labels % 2 == 1, (labels > 0) & (labels % 2 == 0)
    voxels = 255 * np.stack([pre, post, labels > 0]).astype(np.uint8)
    known = {"targets": ["pre", "post", "synapse"], "offsets": [None] * 3, "scale": 1 / 255}
    path = tmp_path / "p.zarr"
    create_volume(path, voxels.shape, "uint8", (8.0, 8.0, 8.0), known).write(voxels).result()
    for name, size in (("one", ""), ("many", "8,16,16")):
        fields = {"input": path, "output": tmp_path / f"{name}.zarr"}
        fields |= {"fragment_size": size, "halo": "2,8,8"} if size else {}
        assert run_command("configs/segment.py", tmp_path / name, fields) == 0
        volume = open_volume(str(tmp_path / f"{name}.zarr"))
        found = volume.read(volume.box)
        pairs = np.unique(np.stack([labels.ravel(), found.ravel()]), axis=1)
        assert pairs.shape[1] == 7 and np.all(pairs[0] % 2 == pairs[1] % 2), name
        # Both sides of a synapse have neighbouring ids.
        by_label = dict(pairs.T.tolist())
        assert all(by_label[2 * n + 2] == by_label[2 * n + 1] + 1 for n in range(3))
