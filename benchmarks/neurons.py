"""A neuron segmentation beside what costs nothing: every method tuned on one part, scored once on another.

    python benchmarks/neurons.py --validation prediction_val.zarr 'a.h5:raw[164:200]' 'a.h5:labels[164:200]' \
        --test prediction_test.zarr 'a.h5:raw[204:250]' 'a.h5:labels[204:250]'

Baselines: everything one segment; a watershed of the raw image; connected components, and a watershed, of the network's
membrane probability alone, without agglomeration. Prints a Markdown table of scores on the test part, with the settings
that the validation part chose by variation of information.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from emjax.data.normalization import measure
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.instances import score_instances
from emjax.segmentation.boundary import affinity_boundary
from emjax.segmentation.fragments import watershed
from emjax.segmentation.methods import METHODS as OWN_METHODS
from emjax.segmentation.methods import decode, suit_to_voxels
from emjax.segmentation.methods.components import components
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import values_to_try
from emjax.volumes.attributes import read_attributes
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.store import open_volume

COLUMNS = ("voi", "voi_split", "voi_merge", "arand", "ap_50", "segments")


class Part(NamedTuple):
    """One part of a volume."""

    prediction: Prediction
    raw: np.ndarray
    labels: np.ndarray
    membrane: np.ndarray
    plane: bool
    memo: dict


def _load(prediction: str, image: str, labels: str) -> Part:
    attributes, volume = read_attributes(prediction), open_volume(image)
    offsets = tuple(offset and tuple(offset) for offset in attributes["offsets"])
    channels = open_volume(prediction).store.read().result()
    found = Prediction(channels, tuple(attributes["targets"]), offsets)
    raw = measure(volume).apply(volume.store.read().result()).astype(np.float32) / 255
    truth = open_volume(labels).store.read().result()
    # As `segment` chooses it. In the baselines, thick sections are joined by what overlaps: membranes of the plane
    # alone, flooded in 3D.
    plane = suit_to_voxels("agglomerate", {}, volume.voxel_nm).get("plane", False)
    near = found.affinities().nearest()
    if plane:
        sections = [[near.read(axis, z) for axis in (1, 2)] for z in range(len(raw))]
        boundary = np.stack([affinity_boundary(edges) for edges in sections])
    else:
        boundary = affinity_boundary([near[axis] for axis in range(3)])
    return Part(found, raw, truth, boundary, plane, {})


def _one_segment(part: Part) -> np.ndarray:
    return np.ones(part.labels.shape, np.uint64)


def _raw_watershed(
    part: Part, smoothing: float, threshold: float, sigma_seeds: float
) -> np.ndarray:
    # Membranes are dark. Across thick sections they are somewhere else.
    sigma = (0 if part.plane else smoothing, smoothing, smoothing)
    boundary = 1 - ndimage.gaussian_filter(part.raw, sigma)
    return watershed(boundary, threshold=threshold, sigma_seeds=sigma_seeds)


def _membrane_components(part: Part, threshold: float) -> np.ndarray:
    return components(part.membrane < threshold)


def _membrane_watershed(part: Part, threshold: float, sigma_seeds: float) -> np.ndarray:
    return watershed(part.membrane, threshold=threshold, sigma_seeds=sigma_seeds)


def _method(name: str) -> Callable[..., np.ndarray]:
    return lambda part, **settings: decode(
        part.prediction,
        name,
        {"plane": part.plane, **settings} if name != "mutex" else settings,
        part.memo,
    )


METHODS: dict[str, tuple[Callable[..., np.ndarray], dict[str, tuple]]] = {
    "all one segment": (_one_segment, {}),
    "watershed of the raw image": (
        _raw_watershed,
        {
            "smoothing": (1.0, 2.0, 3.0),
            "threshold": (0.4, 0.5, 0.6, 0.7),
            "sigma_seeds": (1.0, 3.0, 6.0),
        },
    ),
    "components of the membrane": (_membrane_components, {"threshold": (0.1, 0.2, 0.3, 0.5, 0.7)}),
    "watershed of the membrane": (
        _membrane_watershed,
        {"threshold": (0.2, 0.35, 0.5, 0.65), "sigma_seeds": (1.0, 3.0, 6.0, 10.0)},
    ),
    "emjax, agglomerate": (
        _method("agglomerate"),
        values_to_try(OWN_METHODS["agglomerate"].settings),
    ),
    "emjax, multicut": (_method("multicut"), values_to_try(OWN_METHODS["multicut"].settings)),
    "emjax, mutex": (_method("mutex"), {"strides": ((4, 16, 16),), "threshold": (0.0, 0.3)}),
}


def main() -> None:
    """Tunes and scores all methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("PREDICTION", "IMAGE", "LABELS")
    parser.add_argument("--validation", nargs=3, required=True, metavar=names)
    parser.add_argument("--test", nargs=3, required=True, metavar=names)
    parser.add_argument("--ignore_ids", type=int, nargs="*", default=())
    parser.add_argument(
        "--reference", help="another segmentation of the test part, scored as it is"
    )
    arguments = parser.parse_args()
    validation, test = _load(*arguments.validation), _load(*arguments.test)

    def judge(part: Part, segmentation: np.ndarray) -> dict[str, float]:
        ignored = tuple(arguments.ignore_ids)
        label_ids = LabelIds(ignore=ignored)
        return score_instances(
            Contingency.from_arrays(part.labels, segmentation, label_ids=label_ids)
        )

    lines = ["| method | " + " | ".join(COLUMNS) + " | validation VOI | chosen on validation | s |"]
    lines.append("|---" * (len(COLUMNS) + 4) + "|")
    for name, (run, grid) in METHODS.items():
        combinations = itertools.product(*grid.values())
        trials = [dict(zip(grid, values, strict=True)) for values in combinations]
        scored = [
            (judge(validation, run(validation, **trial))["voi"], i)
            for i, trial in enumerate(trials)
        ]
        value, best = min(scored)
        began = time.monotonic()
        found = run(test, **trials[best])
        seconds = time.monotonic() - began
        lines.append(_row(name, judge(test, found), value, trials[best], seconds))
        sys.stderr.write(lines[-1] + "\n")
    if arguments.reference:
        found = open_volume(arguments.reference).store.read().result()
        lines.append(_row("reference", judge(test, found), None, {}, None))
    sys.stdout.write("\n".join(lines) + "\n")


def _row(
    name: str,
    scores: dict[str, float],
    value: float | None,
    settings: dict[str, Any],
    seconds: float | None,
) -> str:
    cells = [
        f"{scores[c]:.3f}" if isinstance(scores[c], float) else f"{scores[c]}" for c in COLUMNS
    ]
    chosen = ", ".join(f"{key} {value}" for key, value in settings.items())
    known = [f"{number:.3f}" if number is not None else "" for number in (value, seconds)]
    return f"| {name} | " + " | ".join([*cells, known[0], chosen, known[1]]) + " |"


if __name__ == "__main__":
    main()
