"""What the job `evaluate` reads: volumes of ids and skeletons, opened and checked against each other."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence

from emjax.blocks.complete import refuse_incomplete
from emjax.data.normalization import check_image
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.sizes import Triple
from emjax.jobs.evaluate.passes import Source
from emjax.jobs.evaluate.settings import Settings
from emjax.runs.spec import show_nm
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import read_neurons
from emjax.volumes.attributes import read_attributes
from emjax.volumes.label_ids import UNLABELLED, LabelIds
from emjax.volumes.pairs import Laid, at_voxels_of, lay, same_voxels
from emjax.volumes.roles import IMAGE_KEYS, SEGMENTATION_KEYS, open_ids, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume


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
        classes: of a segmentation that is a class map, id -> name.
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
    classes: Mapping[str, str] = dataclasses.field(default_factory=dict)


def open_inputs(settings: Settings) -> Inputs:
    """Opens and checks all that is read.

    Args:
        settings: that name them.

    Raises:
        InputError: if a volume cannot work, or they do not belong together.
    """
    segmentation = open_ids(settings.segmentation, "segmentation", SEGMENTATION_KEYS)
    labels = open_ids(settings.labels, "labels") if settings.labels else None
    image, mask = (open_volume(a) if a else None for a in (settings.image, settings.mask))
    for name in ("segmentation", "labels", "image", "mask"):
        if address := getattr(settings, name):
            refuse_incomplete(address, name, settings.shared.allow_incomplete)
    if image is not None:
        refuse_idle_keys(image.address, "image", IMAGE_KEYS)
        check_image(image)
    if mask is not None:
        refuse_idle_keys(mask.address, "mask")
    named = {"labels": labels, "segmentation": segmentation, "mask": mask, "image": image}
    named = {what: volume for what, volume in named.items() if volume is not None}
    reference = next(iter(named.values()))
    if settings.resample:
        named = {what: at_voxels_of(reference, volume, what) for what, volume in named.items()}
    elif labels is not None:
        _refuse_other_voxels(labels, segmentation)
    # The image is for the pictures alone.
    laid = lay(named, around=("image",))
    laid.log()
    box = _box(settings.shared.box, reference, laid)
    segmentation = laid.volumes["segmentation"]
    labels, mask, image = map(laid.volumes.get, ("labels", "mask", "image"))
    source = Source(
        segmentation=str(segmentation.address.absolute()),
        labels=str(labels.address.absolute()) if labels else "",
        mask=str(mask.address.absolute()) if mask else "",
        label_ids=_label_ids(settings, labels) if labels else LabelIds(),
        segment_ids=LabelIds.of(segmentation.address),
        run=uuid.uuid4().hex,
    )
    sizes = (v.voxel_nm for v in (labels, segmentation, image) if v is not None)
    voxel_nm = next((size for size in sizes if size is not None), None)
    return Inputs(
        segmentation,
        labels,
        image,
        source,
        box,
        laid.place,
        voxel_nm,
        read_neurons(settings.skeletons, settings.unit, voxel_nm) if settings.skeletons else [],
        laid.remarks,
        read_attributes(segmentation.address).get("classes", {}),
    )


def _refuse_other_voxels(labels: Volume, segmentation: Volume) -> None:
    """Refuses voxels of two sizes, which cannot be compared one by one; says how they can be."""
    true, found = labels.voxel_nm, segmentation.voxel_nm
    # Of one size and without a place they may be the same voxels under a wrong size: `lay` says so.
    if (
        true is None
        or found is None
        or same_voxels(true, found)
        or labels.size == segmentation.size
    ):
        return
    raise InputError(
        f"voxels of segmentation {segmentation.name} are {show_nm(found)} nm, those of labels {labels.name} "
        f"{show_nm(true)} nm: give --config.resample=true to compare at those of the labels, or ?voxel_nm=Z,Y,X where "
        "a file is wrong"
    )


def _label_ids(settings: Settings, labels: Volume) -> LabelIds:
    # CREMI's files of clefts mark voxels without one so, and know all voxels.
    clefts = (UNLABELLED,) if settings.kind == "clefts" else ()
    return LabelIds.of(labels.address, (*settings.background_ids, *clefts), settings.ignore_ids)


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
