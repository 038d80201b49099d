"""Scores of a segmentation: variation of information and adapted Rand, beside scikit-image, with equal numbers.

    python benchmarks/evaluate.py [--peer skimage] [--quick] [--side 256]

The segmentation is the truth with every tenth object merged into another and every tenth cut in two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import report
import timing
from timing import Candidate


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("skimage",))
    parser.add_argument("--side", type=int, default=256, help="voxels of the volume's side")
    options = parser.parse_args()
    side = 32 if options.quick else options.side
    candidates = {"emjax": Candidate(make_ours, {"side": side})}
    if options.peer:
        candidates["skimage"] = Candidate(make_skimage, {"side": side})
    repeats = options.repeats or (2 if options.quick else 7)
    timings = timing.interleave(candidates, repeats, options.cores or 1)
    written = report.Report("evaluate", options)
    written.add("evaluate", timings, side**3 / 1e6, "Mvoxel")
    if options.peer:
        ours, peer = timings["emjax"].extra, timings["skimage"].extra
        for name, value in ours.items():
            assert abs(value - peer[name]) < 1e-6, f"{name}: {value} here, {peer[name]} there"
        written.ratio("evaluate", timings["emjax"], {"skimage": timings["skimage"]}, memory=True)
    written.write()


def pair(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels and a segmentation of them with errors, `[z, y, x]` uint64; no background."""
    from emjax.volumes.store import open_volume

    small = min(side, 128)
    address = f"synthetic://neurites?shape={small},{small},{small}&voxel_nm=16,16,16&labels=neurons"
    labels = np.asarray(open_volume(address).store.read().result()).astype(np.uint64) + 1
    labels = np.pad(labels, [(0, side - small)] * 3, mode="symmetric")
    ids = np.unique(labels)
    rng = np.random.default_rng(0)
    to = dict(zip(ids.tolist(), ids.tolist(), strict=True))
    for i in rng.choice(ids, max(1, len(ids) // 10), replace=False).tolist():
        to[i] = int(rng.choice(ids))
    segmentation = np.asarray([to[i] for i in ids.tolist()], np.uint64)[
        np.searchsorted(ids, labels)
    ]
    cut = np.isin(segmentation, rng.choice(ids, max(1, len(ids) // 10), replace=False))
    cut[: side // 2] = False
    segmentation[cut] += np.uint64(10**6)
    return labels, segmentation


def make_ours(side: int) -> Callable[[], dict[str, float]]:
    """The table of overlaps, and both scores of it."""
    from emjax.evaluation.contingency import Contingency
    from emjax.evaluation.partition import adapted_rand, variation_of_information

    labels, segmentation = pair(side)

    def run() -> dict[str, float]:
        table = Contingency.from_arrays(labels, segmentation)
        return {
            "voi": variation_of_information(table)["voi"],
            "arand": adapted_rand(table)["arand"],
        }

    return run


def make_skimage(side: int) -> Callable[[], dict[str, float]]:
    """Both scores by scikit-image, which wants small signed ids: conversion is not timed."""
    import fastremap
    from skimage.metrics import adapted_rand_error, variation_of_information

    dense = [fastremap.renumber(array)[0].astype(np.int64) for array in pair(side)]

    def run() -> dict[str, float]:
        split, merge = variation_of_information(*dense)
        return {"voi": float(split + merge), "arand": float(adapted_rand_error(*dense)[0])}

    return run


if __name__ == "__main__":
    main()
