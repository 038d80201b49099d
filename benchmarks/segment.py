"""From affinities to instances: each method of ours beside waterz' own path and mwatershed, with their scores.

    python benchmarks/segment.py [--peer waterz|mwatershed|all] [--quick]
    python benchmarks/segment.py --peer all --input prediction.zarr --labels 'volume.h5:labels[164:200]'
    python benchmarks/segment.py --peer waterz --input large.zarr --labels large.h5:labels --repeats 1
        --ways emjax_agglomerate_basins waterz_mean --thresholds 0.2 0.3

`--input` is a prediction as configs/predict.py writes it; without one, affinities are made of synthetic neurites with
blurred, noisy membranes. Each way first gets its best threshold by the labels (not timed); then all are timed
at theirs, from uint8 affinities to ids, on one core unless `--cores` says otherwise. The ratio to a peer is that of the
fastest of our ways whose VOI is not above the peer's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import report
import timing
from timing import Candidate

from emjax.evaluation.contingency import Contingency
from emjax.evaluation.partition import variation_of_information

OURS = {
    "agglomerate": ("agglomerate", {}),
    "agglomerate_mean": ("agglomerate", {"linkage": "mean"}),
    "agglomerate_basins": ("agglomerate", {"seeds": "basins"}),
    "agglomerate_boundary": ("agglomerate", {"linkage": "mean", "flood": "boundary"}),
    "multicut": ("multicut", {}),
    "mutex": ("mutex", {}),
    "affinity_components": ("affinity_components", {}),
}
GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WATERZ = {
    "waterz_mean": "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>",
    "waterz_quantile": "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>",
}
# Of long-range edges in mwatershed, as its users and our default have it.
STRIDES = (1, 1, 1)


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("waterz", "mwatershed"))
    parser.add_argument("--input", default="", help="address of a prediction")
    parser.add_argument("--labels", default="", help="address of its labels")
    parser.add_argument("--ways", nargs="+", help="those to measure; all")
    parser.add_argument("--thresholds", nargs="+", type=float, default=GRID, help="to choose from")
    parser.add_argument("--side", type=int, default=160, help="voxels of a synthetic volume's side")
    options = parser.parse_args()
    if bool(options.input) != bool(options.labels):
        parser.error("--input and --labels come together")
    keep_output_apart()
    source = {"input": options.input, "labels": options.labels}
    source["side"] = 48 if options.quick else options.side
    affinities, _, labels = load(**source)
    written = report.Report("segment", options)
    written.number("voxels", labels.size)
    ways = {f"emjax_{name}": (make_ours, {"name": name}) for name in OURS}
    if options.quick:
        ways = {
            name: ways[name] for name in ("emjax_agglomerate_mean", "emjax_affinity_components")
        }
    if options.peer in ("waterz", "all"):
        ways |= {name: (make_waterz, {"scoring": scoring}) for name, scoring in WATERZ.items()}
    if options.peer in ("mwatershed", "all"):
        ways["mwatershed"] = (make_mwatershed, {})
    chosen = options.ways or ways
    if unknown := set(chosen) - set(ways):
        parser.error(f"--ways {' '.join(sorted(unknown))}: there are {' '.join(ways)}")
    ways = {name: ways[name] for name in chosen}
    candidates = {}
    for name, (make, arguments) in ways.items():
        threshold, score = best(make, source | arguments, labels, options.thresholds)
        written.number(f"{name}_voi", score, f"bits at threshold {threshold:g}")
        candidates[name] = Candidate(make, source | arguments | {"threshold": threshold})
    repeats = options.repeats or (1 if options.quick else 5)
    timings = timing.interleave(candidates, repeats, options.cores or 1)
    for name, found in timings.items():
        found.extra = {"voi": written.numbers[f"{name}_voi"]}
    written.add("segment", timings, labels.size / 1e6, "Mvoxel")
    _compare(written, timings)
    written.write()


def _compare(written: report.Report, timings: dict[str, timing.Timing]) -> None:
    ours = {name: t for name, t in timings.items() if name.startswith("emjax")}
    for peer in (name for name in timings if not name.startswith("emjax")):
        good = {
            n: t for n, t in ours.items() if t.extra["voi"] <= timings[peer].extra["voi"] + 1e-9
        }
        if good:
            fastest = min(good, key=lambda name: good[name].median)
            written.ratio(f"{fastest}_to_{peer}", good[fastest], {peer: timings[peer]})
        else:
            print(f"RATIO none of ours reaches the VOI of {peer}")


def load(input: str, labels: str, side: int) -> tuple[np.ndarray, tuple[Any, ...], np.ndarray]:
    """Returns uint8 affinities `[c, z, y, x]`, their offsets, and labels `[z, y, x]`."""
    from emjax.volumes.attributes import read_attributes
    from emjax.volumes.store import open_volume

    if input:
        volume = open_volume(input)
        array = np.asarray(volume.store.read().result())
        offsets = read_attributes(volume.address)["offsets"]
        kept = [i for i, offset in enumerate(offsets) if offset]
        found = np.asarray(open_volume(labels).store.read().result())
        return array[kept], tuple(tuple(offsets[i]) for i in kept), found
    address = (
        f"synthetic://neurites?shape={side},{side},{side}&voxel_nm=8,8,8&seed=0&labels=neurons"
    )
    found = np.asarray(open_volume(address).store.read().result())
    offsets = tuple(
        tuple(-step if a == axis else 0 for a in range(3))
        for step in (1, 3, 9)
        for axis in range(3)
    )
    return synthetic_affinities(found, offsets), offsets, found


def synthetic_affinities(labels: np.ndarray, offsets: tuple[Any, ...]) -> np.ndarray:
    """Affinities as a network makes them: blurred at membranes, doubtful in patches, with fine noise."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    made = []
    for offset in offsets:
        moved = np.roll(labels, [-o for o in offset], (0, 1, 2))
        same = ((labels == moved) & (labels > 0)).astype(np.float32)
        # Membranes are a few voxels wide, and networks blur them.
        same = ndimage.gaussian_filter(ndimage.minimum_filter(same, 3), 0.7)
        doubt = ndimage.gaussian_filter(rng.standard_normal(labels.shape, np.float32), 3.0)
        noise = 0.6 * doubt / doubt.std() + 0.3 * rng.standard_normal(labels.shape, np.float32)
        # As logits: what is sure stays sure.
        logits = 8 * (same - 0.5) + noise
        made.append(np.round(255 / (1 + np.exp(-logits))).astype(np.uint8))
    return np.stack(made)


def best(
    make: Callable[..., Any],
    arguments: dict[str, Any],
    labels: np.ndarray,
    thresholds: Sequence[float],
) -> tuple[float, float]:
    """Returns the threshold of the least VOI and that VOI, bits."""
    scores = []
    for threshold in thresholds:
        run = make(**arguments, threshold=threshold)
        segmentation = run.segment()
        table = Contingency.from_arrays(labels, segmentation)
        scores.append((variation_of_information(table)["voi"], threshold))
    score, threshold = min(scores)
    return threshold, score


class Run:
    """A prepared way to segment; called, it says nothing but that it has run."""

    def __init__(self, segment: Callable[[], np.ndarray]) -> None:
        self.segment = segment

    def __call__(self) -> dict[str, int]:
        """Segments; returns the number of objects."""
        return {"objects": int(self.segment().max())}


def make_ours(input: str, labels: str, side: int, name: str, threshold: float) -> Run:
    """One of our methods."""
    from emjax.segmentation.methods import decode
    from emjax.segmentation.prediction import Prediction

    array, offsets, _ = load(input, labels, side)
    prediction = Prediction(array, ("affinity",) * len(array), offsets)
    method, settings = OURS[name]
    settings = settings | {"beta" if method == "multicut" else "threshold": threshold}
    return Run(lambda: decode(prediction, method, settings))


def make_waterz(input: str, labels: str, side: int, scoring: str, threshold: float) -> Run:
    """Its own watershed and agglomeration; conversion to float32 is part of the work, as it is of ours."""
    import waterz

    array, offsets, _ = load(input, labels, side)
    near = [offsets.index(o) for o in ((-1, 0, 0), (0, -1, 0), (0, 0, -1))]

    def segment() -> np.ndarray:
        affinities = array[near].astype(np.float32) / 255
        return next(
            waterz.agglomerate(affinities, [1 - threshold], scoring_function=scoring)
        ).copy()

    return Run(segment)


def keep_output_apart() -> None:
    """Leaves standard output to Python: what waterz prints, here and in the workers, goes nowhere."""
    sys.stdout.flush()
    ours = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.stdout = os.fdopen(ours, "w")


def make_mwatershed(input: str, labels: str, side: int, threshold: float) -> Run:
    """Mutex watershed on the nearest and all long-range affinities."""
    import mwatershed

    array, offsets, _ = load(input, labels, side)
    steps = [list(STRIDES) if sum(map(abs, o)) > 1 else [1, 1, 1] for o in offsets]

    def segment() -> np.ndarray:
        affinities = array.astype(np.float64) / 255 - threshold
        return mwatershed.agglom(affinities, [list(o) for o in offsets], strides=steps)

    return Run(segment)


if __name__ == "__main__":
    main()
