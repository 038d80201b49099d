"""The prediction that `segment` reads, opened and checked, and what is to be done with it."""

from __future__ import annotations

import dataclasses
from typing import Any

from emjax.blocks.inputs import Inputs
from emjax.blocks.output import IDENTITY
from emjax.geometry.box import Box
from emjax.jobs.segment.inputs import choose_channels, open_part, read_method, suggested_methods
from emjax.jobs.segment.settings import Settings
from emjax.segmentation.channels import Channels
from emjax.segmentation.methods import read_method_settings, suit_to_voxels
from emjax.volumes.attributes import read_attributes
from emjax.volumes.slow import say_if_slow
from emjax.volumes.volume import Volume


@dataclasses.dataclass(frozen=True)
class Opened:
    """A prediction, and how it is decoded.

    Attributes:
        volume: the prediction.
        box: the part of it that is segmented, in its voxels.
        inputs: the prediction, as far as its files tell.
        channels: those that are decoded.
        method: a name in `emjax.segmentation.methods.METHODS`.
        settings: of the method.
        made_by: identity of the work that made the prediction; None where it is not known.
    """

    volume: Volume
    box: Box
    inputs: Inputs
    channels: Channels
    method: str
    settings: Any
    made_by: str | None

    @property
    def identity(self) -> list[Any]:
        """What tells these channels from others."""
        channels = self.channels
        # The channels of a group are named by their numbers, too.
        group = [] if channels.indices is None else [channels.indices]
        return [channels.address, channels.names, channels.offsets, *group]


def open_input(settings: Settings) -> Opened:
    """Opens the prediction, and chooses channels, method and settings.

    Raises:
        InputError: if it cannot be opened, is no prediction, or does not suit the method.
    """
    shared = settings.shared
    volume, box = open_part(settings.input, shared.box)
    inputs = Inputs.of({"input": settings.input}, shared.allow_incomplete)
    say_if_slow(volume, parts="cells")
    chosen = choose_channels(
        settings.input, settings.channels, volume, of=settings.of, method=settings.method
    )
    channels = Channels.of(volume, *chosen)
    # Reads nothing, but refuses what is no prediction.
    channels.read(box)
    method, given = read_method(
        settings.method, settings.settings, *chosen[:2], suggested_methods(volume)
    )
    given = suit_to_voxels(method, given, volume.voxel_nm)
    of_method = read_method_settings(method, given, chosen.offsets)
    made_by = read_attributes(volume.address).get(IDENTITY)
    return Opened(volume, box, inputs, channels, method, of_method, made_by)
