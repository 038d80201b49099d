"""The network of a run that starts from the weights of another: that of the other run, but for what a user chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from emjax.errors import InputError
from emjax.models.backbone import nearest_multiple
from emjax.models.build import NETWORKS, build_backbone
from emjax.models.fields import as_tuples
from emjax.runs.spec import RunSpec, check_voxel_nm
from emjax.train.preparation import with_network
from emjax.train.weights import Weights, restore_params

# Fields that change no shared parameter and belong to the new run: skips are added in finetuning.
_OWN = ("skips", "dtype", "remat")


class Start(NamedTuple):
    """What a run starts with.

    Attributes:
        values: its configuration with a complete network, as plain dicts.
        weights: the initial weights; None: from scratch, or from a checkpoint of its own.
        conflicts: what a user chose although the weights have it otherwise, for the message if they do not fit.
    """

    values: dict[str, Any]
    weights: Weights | None = None
    conflicts: str = ""


def continued(values: Mapping[str, Any], begun: RunSpec) -> dict[str, Any]:
    """Returns the configuration of a run that is continued, with the network and the crops that it began with."""
    model = as_tuples_of(begun.config["model"])
    crop_size = tuple(begun.config["data"]["crop_size"])
    return {**values, "model": model, "data": {**values["data"], "crop_size": crop_size}}


def complete(
    values: Mapping[str, Any],
    told: Collection[str],
    voxel_nm: Sequence[float],
    pooled_nm: Sequence[float],
    *,
    labelled: bool,
    inherits: bool,
) -> Start:
    """Completes the network of a run that begins: it is that of its initial weights, else follows the voxel size.

    Args:
        values: configuration of the run, as plain dicts.
        told: dotted names of the fields that a user chose.
        voxel_nm: (z, y, x) voxel size of all crops, nm; empty if it is mixed or unknown.
        pooled_nm: (z, y, x) voxel size that poolings are chosen for, nm.
        labelled: whether the weights must be of the volumes' voxel size.
        inherits: whether the network is that of the weights, and not only what the configuration leaves open.

    Raises:
        InputError: if the weights cannot be read, are of another voxel size, or do not go with what a user chose.
    """
    source = values["init_from"]
    if not source:
        return Start(with_network(values, pooled_nm, told=told))
    weights = restore_params(source)
    spec = weights.spec
    if labelled:
        nm = ",".join(f"{side:g}" for side in spec.voxel_nm)
        advice = f"give data.voxel_nm={nm}, which resamples them, or correct a wrong size by ?voxel_nm=z,y,x"
        check_voxel_nm(voxel_nm, spec.voxel_nm, "data.volumes", f"init_from={source}", advice)
        pooled_nm = spec.voxel_nm or pooled_nm
    there = spec.config.get("model")
    if not inherits:
        return Start(with_network(values, pooled_nm, there, told), weights)
    found = inherit(values, told, spec, source)
    if found.note:
        logging.info("%s", found.note)
    data = {**values["data"], "crop_size": found.crop_size}
    inherited = {**values, "model": found.model, "data": data}
    return Start(with_network(inherited, pooled_nm, there, told), weights, found.conflicts)


class Inherited(NamedTuple):
    """What a run takes from the one whose weights it starts from.

    Attributes:
        model: fields of the network.
        crop_size: (z, y, x) voxels.
        note: what came from there although the configuration says otherwise, for the log; '': nothing.
        conflicts: what a user chose although it is otherwise there, for the message if the weights do not fit;
            '': nothing.
    """

    model: dict[str, Any]
    crop_size: tuple[int, ...]
    note: str
    conflicts: str


def inherit(
    values: Mapping[str, Any], told: Collection[str], spec: RunSpec, source: str
) -> Inherited:
    """Completes the network of a run from that of its initial weights.

    The network is that of the weights, but for fields that a user chose. The crops are those of the configuration,
    unless nobody chose them and the network cannot take them: then they are those of the other run.

    Args:
        values: complete configuration of the new run, as plain dicts.
        told: dotted names of the fields that a user chose; the others come from presets.
        spec: what the weights say of themselves.
        source: where they are, for messages.

    Raises:
        InputError: if a user chose crops that the network cannot take.
    """
    own = as_tuples_of(values["model"])
    there = as_tuples_of(spec.config.get("model") or {})
    chosen = {name: own[name] for name in own if f"model.{name}" in told}
    other = not there or chosen.get("name", there.get("name")) != there.get("name")
    # What was published has a network, but no crops.
    begun = bool((spec.config.get("data") or {}).get("crop_size"))
    model = dict(own) if other else _network(own, there, begun) | chosen
    differing = {
        name: value
        for name, value in chosen.items()
        if name in there and there[name] != value and name not in _OWN
    }
    conflicts = "; ".join(
        f"model.{name}={value} was chosen, and init_from={source} has {there[name]}: leave out "
        f"--config.model.{name} to take over its network"
        for name, value in differing.items()
    )
    crop_size, changed = tuple(values["data"]["crop_size"]), False
    if not other:
        crop_size, changed = _crop_size(values, "data.crop_size" in told, model, spec, source)
    notes = [] if _same(model, own) else [f"the network ({describe(model)})"]
    if changed:
        notes.append(f"crops of {'x'.join(map(str, crop_size))} voxels")
    note = f"{' and '.join(notes)} of init_from={source}, not the preset's" if notes else ""
    return Inherited(model, crop_size, note, conflicts)


def as_tuples_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a network with tuples for lists, so that they can be compared."""
    return {name: as_tuples(value) for name, value in model.items()}


def describe(model: Mapping[str, Any]) -> str:
    """Returns the name of a network and its size in a few words."""
    known = ("variant", "width", "depth", "widths", "strides")
    sizes = [f"{name}={model[name]}" for name in known if model.get(name)]
    return ", ".join([str(model["name"]), *sizes])


def _network(own: Mapping[str, Any], there: Mapping[str, Any], begun: bool) -> dict[str, Any]:
    """Returns the network of the weights, of a run that was `begun` here or published, with what is the new run's."""
    kind = NETWORKS.find(str(there["name"]), "model.name=")
    model = dict(own) if own["name"] == there["name"] else {}
    # Weights that were published say nothing of a decoder: it is that of the preset, if that has the same network. A
    # run says all that its version had, and a later field is for it what the class has without a choice.
    if begun:
        model = {f.name: f.default for f in dataclasses.fields(kind) if f.name in model}
    model |= there
    for name in _OWN:
        if name in own and name in kind.__dataclass_fields__:
            model[name] = own[name]
    if own.get("skips", "none") != "none" != there.get("skips", "none"):
        # Both have skips: the decoder is made for those of the weights.
        model["skips"] = there["skips"]
    return model


def _same(model: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether the network is what the configuration says; what it leaves open does not count."""
    return all(model.get(name) == value for name, value in own.items() if value not in ((), ""))


def _crop_size(
    values: Mapping[str, Any],
    told: bool,
    model: Mapping[str, Any],
    spec: RunSpec,
    source: str,
) -> tuple[tuple[int, ...], bool]:
    """Returns the size of the crops, and whether it is not that of the configuration."""
    own = tuple(values["data"]["crop_size"])
    there = tuple((spec.config.get("data") or {}).get("crop_size") or ())
    backbone = build_backbone({**model, "out_channels": 1})
    if not there and not told:
        # Published weights; of the networks that they are for, the crops of presets need not be multiples.
        fit = nearest_multiple(own, backbone.footprint.stride)
        return fit, fit != own
    if not there or there == own:
        return own, False
    only_there = getattr(backbone, "one_crop_size", False)
    if told and only_there:
        raise InputError(
            f"data.crop_size={own} was chosen, and the network of init_from={source} has a position for each place in "
            f"crops of {there}: leave out --config.data.crop_size"
        )
    if told or (not only_there and _takes(backbone, own)):
        return own, False
    return there, True


def _takes(backbone: Any, crop_size: tuple[int, ...]) -> bool:
    try:
        backbone.check_crop(crop_size)
    except InputError:
        return False
    return True
