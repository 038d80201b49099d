"""What the job `evaluate` reads: volumes of ids and skeletons, opened and checked against each other."""

from __future__ import annotations

import dataclasses
import glob
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from emjax.config import nearest
from emjax.errors import InputError
from emjax.evaluation.passes import Source
from emjax.evaluation.swc import Skeleton, read_swc
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volume_config import validate_volume_config
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.roles import IMAGE_KEYS, SEGMENTATION_KEYS, open_ids, refuse_idle_keys
from emjax.volumes.store import Volume, open_volume

KINDS = ("instances", "semantic", "clefts")


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What is opened and checked.

    Attributes:
        segmentation: what is judged.
        labels: the truth; None where skeletons alone judge.
        image: for the pictures, or None.
        source: what blocks are read from.
        box: the part that is scored.
        voxel_nm: (z, y, x) voxel size, nm; None where no volume says.
        skeletons: neurons; empty where none were given.
    """

    segmentation: Volume
    labels: Volume | None
    image: Volume | None
    source: Source
    box: Box
    voxel_nm: Triple | None
    skeletons: Sequence[Skeleton]


def open_inputs(config: ConfigDict) -> Inputs:
    """Opens and checks all that is read.

    Args:
        config: as made by `configs/evaluate.py`.

    Raises:
        InputError: if the configuration or a volume cannot work.
    """
    validate_volume_config(
        config, ("segmentation",) if config.skeletons else ("segmentation", "labels")
    )
    _check_fields(config)
    segmentation = open_ids(config.segmentation, "segmentation", SEGMENTATION_KEYS)
    labels = open_ids(config.labels, "labels") if config.labels else None
    image, mask = (open_volume(a) if a else None for a in (config.image, config.mask))
    if image is not None:
        refuse_idle_keys(image.address, "image", IMAGE_KEYS)
    if mask is not None:
        refuse_idle_keys(mask.address, "mask")
    truth, what = (labels, "labels") if labels else (segmentation, "segmentation")
    others = {"segmentation": segmentation, "mask": mask, "image": image}
    for name, volume in others.items():
        if volume is not None and volume.size != truth.size:
            raise InputError(
                f"{name} {volume.name} is {volume.size} voxels, {what} {truth.name} {truth.size}; they must be "
                "equal: give boxes that match"
            )
    source = Source(
        segmentation=str(segmentation.address.absolute()),
        labels=str(labels.address.absolute()) if labels else "",
        mask=str(mask.address.absolute()) if mask else "",
        label_ids=LabelIds.of(labels.address, config.background_ids, config.ignore_ids)
        if labels
        else LabelIds(),
        segment_ids=LabelIds.of(segmentation.address),
        run=uuid.uuid4().hex,
    )
    box = Box((0, 0, 0), truth.size)
    if config.box:
        box = Box.from_text(config.box, truth.size)
    skeletons = (
        read_skeletons(config.skeletons, config.skeleton_unit_nm) if config.skeletons else []
    )
    voxel_nm = _voxel_nm([v for v in (labels, segmentation, image) if v is not None])
    return Inputs(segmentation, labels, image, source, box, voxel_nm, skeletons)


def read_skeletons(text: str, unit_nm: float) -> list[Skeleton]:
    """Reads skeletons, each of which is one neuron.

    Args:
        text: an SWC file, each tree of which is a neuron; or a folder or pattern of files, each of which is one.
        unit_nm: nm in one unit of the files.

    Raises:
        InputError: if there is no such file, or one is no SWC.
    """
    path = Path(text).expanduser()
    if path.is_file():
        return read_swc(path, unit_nm).trees()
    pattern = str(path / "*.swc") if path.is_dir() else str(path)
    files = sorted(glob.glob(pattern))
    if not files:
        raise InputError(
            f"skeletons={text}: no file {pattern}; give an SWC file, or a folder or pattern of them"
        )
    return [read_swc(file, unit_nm) for file in files]


def _check_fields(config: ConfigDict) -> None:
    """Checks the fields that are this job's own."""
    if config.kind not in KINDS:
        raise InputError(f"kind='{config.kind}' is unknown{nearest(config.kind, KINDS)}")
    if len(config.halo):
        raise InputError(
            f"halo={tuple(config.halo)}: evaluation reads what its scores need; leave it out"
        )
    if config.boundary_tolerance < 0:
        raise InputError(f"boundary_tolerance={config.boundary_tolerance} must be 0 or more voxels")
    if config.skeleton_unit_nm <= 0:
        raise InputError(f"skeleton_unit_nm={config.skeleton_unit_nm} must be above 0 nm")
    if config.skeleton_merge_points < 1:
        raise InputError(f"skeleton_merge_points={config.skeleton_merge_points} must be 1 or more")


def _voxel_nm(volumes: Sequence[Volume]) -> Triple | None:
    """Returns the voxel size of the first volume that says one; warns where another one says otherwise."""
    sizes = {volume.name: volume.voxel_nm for volume in volumes if volume.voxel_nm is not None}
    if not sizes:
        return None
    first, *others = sizes
    for other in others:
        if not np.allclose(sizes[first], sizes[other], rtol=0.01):
            logging.warning(
                "%s has voxels of %s nm, %s of %s: the first is used",
                first,
                sizes[first],
                other,
                sizes[other],
            )
    return sizes[first]
