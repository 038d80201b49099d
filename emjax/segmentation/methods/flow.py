"""The method `flow`: voxels that flow to the same place are one object."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from emjax.compiled import compiled
from emjax.segmentation.method import Method, has
from emjax.segmentation.methods.components import CONNECTIVITIES, components
from emjax.segmentation.prediction import Prediction
from emjax.segmentation.settings import StitchSettings, choice, number


@dataclasses.dataclass(frozen=True, kw_only=True)
class FlowSettings(StitchSettings):
    """Where voxels flow to; see `follow` and `sinks`.

    Attributes:
        threshold: objects have more foreground than this.
        steps: of half a voxel at most, that each voxel is moved.
        min_arrivals: voxels; a place where fewer arrive, with its neighbours, is no sink.
        connectivity: of the places that are one sink, 6, 18 or 26: through sections, too, also of a flow within them.
        min_size: voxels; smaller objects are removed.
    """

    threshold: float = number(0.5, 0, 1, grid=(0.3, 0.5, 0.7))
    steps: int = number(400, 1)
    min_arrivals: int = number(10, 1, grid=(3, 10, 30))
    connectivity: int = choice(26, CONNECTIVITIES)
    min_size: int = number(128, 0, later=True)


def follow(flow: Sequence[np.ndarray], inside: np.ndarray, steps: int = 400) -> np.ndarray:
    """Moves each voxel of the foreground along the flow, half its length at a time.

    Args:
        flow: along z, y and x, each `[z, y, x]` float32 in [-1, 1].
        inside: `[z, y, x]` bool, the foreground. There is no flow outside of it.
        steps: number of steps.

    Returns:
        `[n, 3]` int64, the place where each voxel of the foreground, in the order of the array, comes to lie.
    """
    starts = np.argwhere(inside)
    field = np.stack([np.where(inside, part, np.float32(0)) for part in flow], axis=-1)
    return _follow(np.ascontiguousarray(field), starts, steps)


def sinks(
    places: np.ndarray, inside: np.ndarray, min_arrivals: int = 10, connectivity: int = 26
) -> np.ndarray:
    """Makes objects of the voxels that flowed to the same place.

    Args:
        places: `[n, 3]`, where each voxel of the foreground came to lie.
        inside: `[z, y, x]` bool, the foreground.
        min_arrivals: voxels that arrive at a place and its 26 neighbours, so that it belongs to a sink.
        connectivity: of the places that are one sink.

    Returns:
        `[z, y, x]` uint64; voxels that arrive beside all sinks become background.

    Source: follows Cellpose, doi:10.1038/s41592-020-01018-x, where sinks are maxima of the number of arrivals; here
    they are the components of all places where many arrive (our choice), which need no order.
    """
    arrivals = np.zeros(inside.shape, np.int64)
    np.add.at(arrivals, tuple(places.T), 1)
    around = ndimage.uniform_filter(arrivals.astype(np.float64), 3, mode="constant") * 27
    labels = components((arrivals > 0) & (around > min_arrivals - 0.5), connectivity)
    found = np.zeros(inside.shape, np.uint64)
    found[inside] = labels[tuple(places.T)]
    return found


@compiled
def _follow(field, starts, steps):
    """Moves places by linear interpolation of a field `[z, y, x, 3]`; those that leave it stay at its border."""
    last = np.array(field.shape[:3], np.float64) - 1
    found = np.empty(starts.shape, np.int64)
    place, low, share = np.empty(3), np.empty(3, np.int64), np.empty(3)
    move = np.empty(3)
    for i in range(len(starts)):
        for a in range(3):
            place[a] = starts[i, a]
        for _ in range(steps):
            for a in range(3):
                low[a] = min(int(place[a]), max(int(last[a]) - 1, 0))
                share[a] = place[a] - low[a]
                move[a] = 0.0
            for corner in range(8):
                weight = 1.0
                z, y, x = low[0], low[1], low[2]
                for a in range(3):
                    if corner >> a & 1:
                        weight *= share[a]
                        if share[a] > 0.0:
                            if a == 0:
                                z += 1
                            elif a == 1:
                                y += 1
                            else:
                                x += 1
                    else:
                        weight *= 1.0 - share[a]
                if weight > 0.0:
                    for a in range(3):
                        move[a] += weight * field[z, y, x, a]
            length = 0.0
            for a in range(3):
                place[a] = min(max(place[a] + 0.5 * move[a], 0.0), last[a])
                length += abs(move[a])
            if length < 1e-3:
                break
        for a in range(3):
            found[i, a] = int(place[a] + 0.5)
    return found


def _fragments(prediction: Prediction, settings: FlowSettings) -> np.ndarray:
    inside = prediction.channel("foreground") > settings.threshold
    nothing = np.zeros((1, 1, 1), np.float32)
    # A vector v is stored as (v + 1) / 2.
    flow = [
        2 * prediction.channel(name) - 1 if name in prediction.names else nothing
        for name in ("flow_z", "flow_y", "flow_x")
    ]
    places = follow(flow, inside, settings.steps)
    return sinks(places, inside, settings.min_arrivals, settings.connectivity)


METHOD = Method(
    summary="voxels that flow to the same place are one object (Cellpose)",
    settings=FlowSettings,
    needs="'foreground', 'flow_y' and 'flow_x', and 'flow_z' in 3D",
    fits=has("foreground", "flow_y", "flow_x"),
    fragments=_fragments,
    stitched=True,
)
