"""What the job `evaluate` reads: volumes of ids and skeletons, opened and checked against each other."""

from __future__ import annotations

import dataclasses
import glob
import uuid
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from emjax.blocks.complete import refuse_incomplete
from emjax.config import nearest
from emjax.errors import InputError
from emjax.evaluation.passes import Source
from emjax.evaluation.swc import Skeleton, read_swc
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.volume_config import validate_volume_config
from emjax.volumes.label_ids import UNLABELLED, LabelIds
from emjax.volumes.opening import open_volume
from emjax.volumes.pairs import Laid, lay
from emjax.volumes.roles import IMAGE_KEYS, SEGMENTATION_KEYS, open_ids, refuse_idle_keys
from emjax.volumes.volume import Volume

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
        place: (z, y, x) voxels of the whole that labels and segmentation begin at.
        voxel_nm: (z, y, x) voxel size, nm; None where no volume says.
        skeletons: neurons; empty where none were given.
        remarks: what was left out because labels or segmentation do not have it.
    """

    segmentation: Volume
    labels: Volume | None
    image: Volume | None
    source: Source
    box: Box
    place: Triple
    voxel_nm: Triple | None
    skeletons: Sequence[Skeleton]
    remarks: tuple[str, ...] = ()


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
    for name in ("segmentation", "labels", "image", "mask"):
        if config[name]:
            refuse_incomplete(config[name], name, config.allow_incomplete)
    if image is not None:
        refuse_idle_keys(image.address, "image", IMAGE_KEYS)
    if mask is not None:
        refuse_idle_keys(mask.address, "mask")
    named = {"labels": labels, "segmentation": segmentation, "mask": mask, "image": image}
    named = {what: volume for what, volume in named.items() if volume is not None}
    # The image is for the pictures alone.
    laid = lay(named, around=("image",))
    laid.log()
    box = _box(config.box, next(iter(named.values())), laid)
    segmentation = laid.volumes["segmentation"]
    labels, mask, image = map(laid.volumes.get, ("labels", "mask", "image"))
    source = Source(
        segmentation=str(segmentation.address.absolute()),
        labels=str(labels.address.absolute()) if labels else "",
        mask=str(mask.address.absolute()) if mask else "",
        label_ids=_label_ids(config, labels) if labels else LabelIds(),
        segment_ids=LabelIds.of(segmentation.address),
        run=uuid.uuid4().hex,
    )
    sizes = (v.voxel_nm for v in (labels, segmentation, image) if v is not None)
    return Inputs(
        segmentation,
        labels,
        image,
        source,
        box,
        laid.place,
        next((size for size in sizes if size is not None), None),
        read_skeletons(config.skeletons, config.skeleton_unit_nm) if config.skeletons else [],
        laid.remarks,
    )


def _label_ids(config: ConfigDict, labels: Volume) -> LabelIds:
    # CREMI's files of clefts mark voxels without one so, and know all voxels.
    clefts = (UNLABELLED,) if config.kind == "clefts" else ()
    return LabelIds.of(labels.address, (*config.background_ids, *clefts), config.ignore_ids)


def _box(text: str, truth: Volume, laid: Laid) -> Box:
    """Returns the part to be scored, in voxels of what is shared.

    Args:
        text: box in voxels of the truth as it was given; '': all.
        truth: as it was given.
        laid: what is shared.
    """
    shared = Box(laid.moved, laid.volumes["segmentation"].size)
    asked = Box.from_text(text, truth.size) if text else shared
    box = asked.intersect(shared)
    if box is None:
        raise InputError(f"box={text}: all volumes have {shared} of {truth.name} alone")
    return box.translate(tuple(-s for s in laid.moved))


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
    if config.cremi_border_nm < 0:
        raise InputError(f"cremi_border_nm={config.cremi_border_nm} must be 0 or more nm")
    if config.skeleton_unit_nm <= 0:
        raise InputError(f"skeleton_unit_nm={config.skeleton_unit_nm} must be above 0 nm")
    if config.skeleton_merge_points < 1:
        raise InputError(f"skeleton_merge_points={config.skeleton_merge_points} must be 1 or more")
