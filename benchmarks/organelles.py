"""A mask of organelles beside what costs no network: everything foreground, and dark or bright smoothed grey values.

    python benchmarks/organelles.py --validation 'a.h5:raw[29:33]' 'a.h5:mito[29:33]' \
        --test 'a.h5:raw[34:40]' 'a.h5:mito[34:40]' [--segmentation segmentation.zarr]

The smoothing and the two grey values between which a voxel is foreground are those with the highest IoU on one part;
they are scored once on the other. Prints a Markdown table. Objects of the labels are what is not 0.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np
from scipy import ndimage

from emjax.data.normalization import measure
from emjax.volumes.store import open_volume

SMOOTHING = (0.0, 1.0, 2.0, 4.0, 8.0)
GREY = range(0, 257, 16)


def main() -> None:
    """Tunes and scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--validation", nargs=2, required=True, metavar=("IMAGE", "LABELS"))
    parser.add_argument("--test", nargs=2, required=True, metavar=("IMAGE", "LABELS"))
    parser.add_argument("--segmentation", help="address of a segmentation of the test part")
    options = parser.parse_args()
    image, truth = _load(*options.validation)
    tried = []
    for sigma in SMOOTHING:
        smooth = ndimage.gaussian_filter(image, sigma) if sigma else image
        for low, high in itertools.combinations(GREY, 2):
            tried.append((iou((smooth >= low) & (smooth < high), truth), sigma, low, high))
    chosen, sigma, low, high = max(tried)
    image, truth = _load(*options.test)
    smooth = ndimage.gaussian_filter(image, sigma) if sigma else image
    rows = [
        ("all foreground", np.ones(truth.shape, bool), ""),
        (
            "grey values",
            (smooth >= low) & (smooth < high),
            f"smoothing {sigma:g}, {low} to {high} ({chosen:.3f} on validation)",
        ),
    ]
    if options.segmentation:
        found = np.asarray(open_volume(options.segmentation).store.read().result()) > 0
        rows.append(("emjax", found, ""))
    print("| way | IoU | Dice | chosen |\n|---|---|---|---|")
    for name, found, how in rows:
        value = iou(found, truth)
        print(f"| {name} | {value:.3f} | {2 * value / (1 + value):.3f} | {how} |")
    sys.stdout.flush()


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0


def _load(image: str, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Grey values 0 to 255, stretched as for the network, float32; and the mask."""
    volume = open_volume(image)
    grey = measure(volume).apply(volume.store.read().result()).astype(np.float32)
    return grey, np.asarray(open_volume(labels).store.read().result()) > 0


if __name__ == "__main__":
    main()
