"""The neuroglancer page: its layers, and the server on this machine that serves it to a browser."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

import neuroglancer
import numpy as np
from neuroglancer.server import Server
from neuroglancer.viewer_base import ViewerBase

from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.signals import install, restore
from emjax.skeletons.skeleton import Skeleton
from emjax.viewing.guard import guard
from emjax.viewing.layers import AFFINITIES, IMAGE, LABELS, Layer, knows_nm
from emjax.viewing.overlap import shared_box
from emjax.viewing.served import ServedVolume

# Axes in the order in which they are drawn: x to the right, y down.
_DRAWN = ["x", "y", "z"]
# Side of a panel, pixels, into which the part that all layers cover should fit at first.
_PANEL = 300
# Most voxels of the coarsest level along an axis that are drawn in one pixel at first.
_CROWDED = 2
_GREY = """#uicontrol invlerp contrast
void main() {
  emitGrayscale(contrast());
}
"""
_COLOURS = ("red", "green", "blue")


@contextlib.contextmanager
def serve(
    layers: Sequence[Layer], skeletons: Sequence[Skeleton], bind: str, port: int
) -> Iterator[str]:
    """Serves a page for as long as the context lasts.

    The files of the page come with the package: a browser fetches nothing from elsewhere.

    Args:
        layers: layers, drawn over each other in their order.
        skeletons: neurons, nm; voxels if no layer knows its voxel size.
        bind: address of this machine to listen on; '0.0.0.0' for all.
        port: port to listen on; 0 for any free port.

    Yields:
        The link to the page; it holds a secret, so that others cannot open the page.

    Raises:
        InputError: if the server cannot listen on the address or the port.
    """
    try:
        # A server of its own: the one that the package shares between viewers may already run in a notebook.
        server = Server(bind, port)
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen on {bind}:{port} ({reason}); give another --config.port, 0 for any that is free, or "
            "--config.bind"
        ) from error
    try:
        # No layer needs the user's credentials.
        viewer = ViewerBase(allow_credentials=False)
        server.viewers[viewer.token] = viewer
        guard(server, (server.token, viewer.token))
        with viewer.txn() as state:
            fill_state(state, layers, skeletons)
        yield f"{server.server_url}/v/{viewer.token}/"
    finally:
        server.stop()


def wait(seconds: float) -> None:
    """Waits for Ctrl-C or SIGTERM.

    Args:
        seconds: longest time to wait; 0 for no limit.
    """
    asked = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = install(dict.fromkeys((signal.SIGINT, signal.SIGTERM), stop))
    try:
        asked.wait(seconds or None)
    except KeyboardInterrupt:
        pass
    finally:
        restore(old)


def fill_state(
    state: neuroglancer.ViewerState, layers: Sequence[Layer], skeletons: Sequence[Skeleton]
) -> None:
    """Puts layers on a page.

    Args:
        state: state of the page, which is changed.
        layers: layers; the page opens at the middle of the first one if all have voxels there, else of the part that
            all of them cover.
        skeletons: neurons, nm; voxels if no layer knows its voxel size.
    """
    unit = "nm" if knows_nm(layers) else ""
    first = layers[0]
    state.dimensions = neuroglancer.CoordinateSpace(
        names=["z", "y", "x"], units=[unit] * 3, scales=first.voxel_nm
    )
    state.display_dimensions = _DRAWN
    shared = shared_box(layers, Box((0, 0, 0), first.volume.size))
    middle = np.divide(first.volume.size, 2)
    if not all(a <= m < b for a, m, b in zip(shared.start, middle, shared.stop, strict=True)):
        middle = np.add(shared.start, np.divide(shared.size, 2))
    state.position = np.add(first.origin, middle).tolist()
    served = {layer.name: ServedVolume(layer, unit) for layer in layers}
    finest = min(first.voxel_nm)
    longest = max(np.multiply(shared.size, first.voxel_nm)) / finest
    # A larger scale than the coarsest level's would read large parts of volumes without a pyramid.
    least = _CROWDED * min(volume.coarsest_nm for volume in served.values()) / finest
    state.cross_section_scale = min(max(longest / _PANEL, 1 / 8), least)
    state.projection_scale = 1.5 * longest
    for layer in layers:
        state.layers[layer.name] = _drawn(layer, served[layer.name])
    if skeletons:
        state.layers["skeletons"] = _skeletons(skeletons, unit)
    state.layout = _layout(layers, [*(layer.name for layer in state.layers)])


def _drawn(layer: Layer, source: ServedVolume) -> neuroglancer.Layer:
    if layer.kind == LABELS:
        return neuroglancer.SegmentationLayer(source=source, selected_alpha=0.4)
    if layer.kind == IMAGE:
        return neuroglancer.ImageLayer(
            source=source,
            shader=_GREY,
            shader_controls={"contrast": {"range": _range(layer)}},
            opacity=1.0,
        )
    names = _COLOURS[: len(layer.colours)]
    controls = {
        name: {"range": _range(layer), "channel": [channel]}
        for name, channel in zip(names, layer.colours, strict=True)
    }
    return neuroglancer.ImageLayer(
        source=source, shader=_colour_shader(layer), shader_controls=controls, opacity=1.0
    )


def _range(layer: Layer) -> list[float]:
    """Returns the values that are drawn black and white, as integers if the voxels are integers."""
    floats = layer.volume.dtype.kind == "f"
    return [float(v) if floats else round(v) for v in layer.limits]


def _colour_shader(layer: Layer) -> str:
    """Returns a shader of up to three channels; for each colour, the page has a control to choose another channel."""
    controls = [
        f"#uicontrol invlerp {name}(channel=[{channel}])\n"
        for name, channel in zip(_COLOURS, layer.colours, strict=False)
    ]
    values = [f"{name}()" for name in _COLOURS[: len(layer.colours)]]
    values += ["0.0"] * (3 - len(values))
    return "".join(controls) + f"void main() {{\n  emitRGB(vec3({', '.join(values)}));\n}}\n"


def _layout(layers: Sequence[Layer], names: Sequence[str]) -> object:
    """Returns the layout: affinities, which would hide other layers below them, get a panel of their own."""
    beside = {layer.name for layer in layers if layer.kind == AFFINITIES}
    rest = [name for name in names if name not in beside]
    if not beside or not rest:
        return "4panel"
    return neuroglancer.row_layout(
        [
            neuroglancer.LayerGroupViewer(layers=rest, layout="4panel"),
            neuroglancer.LayerGroupViewer(
                layers=[name for name in names if name in beside], layout="xy"
            ),
        ]
    )


class _Skeletons(neuroglancer.skeleton.SkeletonSource):
    """Serves skeletons by their number, counted from 1."""

    def __init__(self, skeletons: Sequence[Skeleton], unit: str) -> None:
        super().__init__(
            neuroglancer.CoordinateSpace(names=["z", "y", "x"], units=[unit] * 3, scales=[1.0] * 3)
        )
        self._skeletons = skeletons

    def get_skeleton(self, object_id: int) -> neuroglancer.skeleton.Skeleton | None:
        """Returns the skeleton of a number, or None if there is none."""
        if not 1 <= object_id <= len(self._skeletons):
            return None
        skeleton = self._skeletons[object_id - 1]
        return neuroglancer.skeleton.Skeleton(skeleton.positions, skeleton.edges)


def _skeletons(skeletons: Sequence[Skeleton], unit: str) -> neuroglancer.Layer:
    return neuroglancer.SegmentationLayer(
        source=_Skeletons(skeletons, unit), segments=list(range(1, len(skeletons) + 1))
    )
