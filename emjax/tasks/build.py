"""Makes tasks from the plain values of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from emjax.augment.recipes import make_recipe
from emjax.config import nearest
from emjax.errors import InputError
from emjax.models.build import build_backbone
from emjax.models.matcher import PAPER_HEADS, Matcher, TokenProjection
from emjax.targets.language import parse_targets
from emjax.tasks.pretrain import LossSettings, Pretrain
from emjax.tasks.segment import Segment

_CHOICES = {
    "kind": ("mse", "l1"),
    "tokens": ("spatial", "channel"),
    "negatives": ("global", "sample"),
    "form": ("full", "released"),
    "balance": ("fixed", "gradient"),
    "matcher": ("projected", "paper"),
}


def build_pretrain(config: Mapping[str, Any]) -> Pretrain:
    """Makes the pretraining task.

    Args:
        config: plain dicts with `model`, `augment`, `loss` and `data.crop_size`, as `configs/pretrain.py` fills them.

    Raises:
        InputError: if a value is unknown or does not fit the others.
    """
    crop_size = tuple(int(size) for size in config["data"]["crop_size"])
    augment, loss = dict(config["augment"]), dict(config["loss"])
    recipe = make_recipe(augment.pop("recipe"), **augment)
    backbone = build_backbone({**config["model"], "out_channels": 1})
    backbone.check_crop(crop_size)
    if recipe.own_orientation and crop_size[1] != crop_size[2]:
        raise InputError(
            f"data.crop_size={crop_size} is not square in y and x; quarter turns need that: make it square, or "
            "set augment.own_orientation=false"
        )
    for name, choices in _CHOICES.items():
        if loss[name] not in choices:
            raise InputError(f"loss.{name}='{loss[name]}' is unknown{nearest(loss[name], choices)}")
    for name in ("reconstruction", "contrastive", "cross", "temperature"):
        if loss[name] < 0 or (name == "temperature" and loss[name] == 0):
            raise InputError(
                f"loss.{name}={loss[name]} must not be negative (temperature: above 0)"
            )
    levels = tuple(int(k) for k in loss["levels"])
    count = len(backbone.level_strides)
    if not levels or len(set(levels)) != len(levels) or not all(0 <= k < count for k in levels):
        raise InputError(
            f"loss.levels={levels}: give distinct levels out of 0 (coarsest) to {count - 1}"
        )
    paper = loss.pop("matcher") == "paper"
    if paper and loss["tokens"] != "channel":
        raise InputError("loss.matcher='paper' attends over channel maps; set loss.tokens=channel")
    size, heads = int(loss.pop("size")), int(loss.pop("heads"))
    if size % heads:
        raise InputError(f"loss.size={size} must be a multiple of loss.heads={heads}")
    names = {field.name for field in dataclasses.fields(LossSettings)}
    settings = LossSettings(**{name: loss[name] for name in names - {"levels"}}, levels=levels)
    return Pretrain(
        backbone=backbone,
        # The paper compares the maps without a projection.
        projection=TokenProjection(size=0 if paper else size),
        matcher=Matcher(size=0, heads=PAPER_HEADS, normalize=False)
        if paper
        else Matcher(size=size, heads=heads),
        recipe=recipe,
        crop_size=crop_size,
        settings=settings,
    )


def build_segment(config: Mapping[str, Any]) -> Segment:
    """Makes the segmentation task.

    Args:
        config: plain dicts with `model`, `augment`, `targets` and `data.crop_size`, as `configs/finetune.py` fills
            them, or as a checkpoint remembers them.

    Raises:
        InputError: if a value is unknown or does not fit the others.
    """
    if "targets" not in config:
        raise InputError(
            "this configuration names no targets: a pretrained network has no head for them; finetune it first, with "
            "--config configs/finetune.py --config.init_from=RUN"
        )
    crop_size = tuple(int(size) for size in config["data"]["crop_size"])
    targets = parse_targets(config["targets"])
    augment = dict(config["augment"])
    strong = float(augment.pop("strong_probability"))
    if not 0 <= strong <= 1:
        raise InputError(f"augment.strong_probability={strong} must be between 0 and 1")
    recipe = make_recipe("ours", max_offset=(0, 0, 0), own_orientation=False, **augment)
    labels = jax.ShapeDtypeStruct(crop_size, jnp.int32)
    for target in targets:
        jax.eval_shape(target.of_labels, labels)  # raises the errors for crops that are too small
    channels = sum(target.channels for target in targets)
    backbone = build_backbone({**config["model"], "out_channels": channels})
    backbone.check_crop(crop_size)
    return Segment(
        backbone=backbone,
        targets=targets,
        recipe=recipe,
        crop_size=crop_size,
        strong_probability=strong,
        widen=bool(config["data"]["widen"]),
    )
