"""The `RunSpec`: what a checkpoint says about itself, so that prediction needs nothing but the checkpoint."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from emjax.config import plain
from emjax.errors import InputError

_PACKAGES = ("emjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorstore")


def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # emjax itself, run from a checkout
            continue
    return versions


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """Plain values that describe a trained network; saved as JSON inside each checkpoint.

    Attributes:
        job: name of the job that trained the network.
        config: the whole configuration, as plain dicts and lists.
        voxel_nm: (z, y, x) voxel size that the network was trained at, nm; empty if it is unknown
            or mixed.
        normalization: the rule that images are scaled by; its numbers are computed for each volume.
        volumes: names of the training volumes, in the order of the loader's indices.
        task: what the task needs to remember, such as its targets and offsets.
        versions: package name -> version.
    """

    job: str
    config: Mapping[str, Any]
    voxel_nm: tuple[float, ...] = ()
    normalization: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    task: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=package_versions)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as plain dicts and lists."""
        fields = dataclasses.fields(self)
        return {item.name: plain(getattr(self, item.name)) for item in fields}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSpec:
        """Makes a spec from what `to_json` returned; unknown fields, of a later version, are left out.

        Raises:
            InputError: if these are not the values of a RunSpec.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        if "job" not in values or "config" not in values:
            raise InputError(
                "this checkpoint was not written by emjax: it names no job and no config"
            )
        kept = {name: value for name, value in values.items() if name in known}
        for name in ("voxel_nm", "volumes"):
            kept[name] = tuple(kept.get(name, ()))
        return cls(**kept)


# Largest factor by which voxel sizes may differ along an axis; beyond it, tissue appears at another scale than in
# training.
LARGEST_RATIO = 1.2


def check_voxel_nm(
    given: Sequence[float],
    trained: Sequence[float],
    what: str,
    checkpoint: str,
    advice: str = "give a matching ?level= of a pyramid, or correct a wrong size by ?voxel_nm=z,y,x",
) -> None:
    """Checks that images have about the voxel size that a network was trained at.

    Args:
        given: (z, y, x) voxel size of the images, nm; empty if it is unknown or mixed.
        trained: (z, y, x) voxel size that the network was trained at, nm; empty likewise.
        what: name of the images, for the message.
        checkpoint: name of the network's checkpoint, for the message.
        advice: what to do, for the message.

    Raises:
        InputError: if the sizes differ by more than a factor of 1.2 along an axis (our choice).
    """
    if not len(given) or not len(trained):
        return
    ratios = [a / b for a, b in zip(given, trained, strict=True)]
    if any(not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO for ratio in ratios):
        raise InputError(
            f"{what} has voxels of {show_nm(given)} nm, {checkpoint} was trained at {show_nm(trained)} nm; {advice}"
        )


def show_nm(size: Sequence[float]) -> str:
    """Writes a voxel size for messages, as in 16x8x8."""
    return "x".join(f"{value:g}" for value in size)
