"""ConvNeXts as timm, torchvision and their authors publish them."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from emjax.weights.families.family import (
    Family,
    Model,
    Shapes,
    count,
    deep_kernel,
    dense,
    flat_kernel,
    layer_norm,
    stem_kernel,
)
from emjax.weights.rules import Rule, as_is


@dataclasses.dataclass(frozen=True)
class _ConvNextNames:
    """What the parts of a ConvNeXt are called.

    `{0}` is the block within its stage, `{s}` the stage, `{even}` and `{odd}` twice the stage and one more.
    """

    stem: str
    stem_norm: str
    block: str
    parts: tuple[str, str, str, str]
    scale: str
    down_norm: str
    down: str
    last: str


_TIMM = _ConvNextNames(
    *("stem.0", "stem.1", "stages.{s}.blocks.{0}", ("conv_dw", "norm", "mlp.fc1", "mlp.fc2")),
    *("gamma", "stages.{s}.downsample.0", "stages.{s}.downsample.1", "head.norm"),
)
_TORCHVISION = _ConvNextNames(
    *("features.0.0", "features.0.1", "features.{odd}.{0}.block"),
    *(
        ("0", "2", "3", "5"),
        "layer_scale",
        "features.{even}.0",
        "features.{even}.1",
        "classifier.0",
    ),
)
_AUTHORS = _ConvNextNames(
    *("downsample_layers.0.0", "downsample_layers.0.1", "stages.{s}.{0}"),
    *(("dwconv", "norm", "pwconv1", "pwconv2"), "gamma"),
    *("downsample_layers.{s}.0", "downsample_layers.{s}.1", "norm"),
)


def _convnext_rules(
    names: _ConvNextNames, model: Mapping[str, Any], shapes: Shapes
) -> tuple[Rule, ...]:
    del shapes
    rules = [
        Rule("stem/conv/kernel", (f"{names.stem}.weight",), stem_kernel(model)),
        Rule("stem/conv/bias", (f"{names.stem}.bias",), as_is),
        *layer_norm("stem/norm", names.stem_norm),
        *layer_norm("centre", names.last),
    ]
    for stage in range(4):

        def named(text: str, stage: int = stage) -> str:
            return (
                text.replace("{s}", str(stage))
                .replace("{odd}", str(2 * stage + 1))
                .replace("{even}", str(2 * stage))
            )

        at, source = rf"encoder/stage{stage}_block(\d+)", named(names.block)
        depthwise, norm, fc1, fc2 = (f"{source}.{part}" for part in names.parts)
        # torchvision's scale lies beside what it calls the block.
        scale = f"{source.removesuffix('.block')}.{names.scale}"
        rules += [
            Rule(f"{at}/depthwise/kernel", (f"{depthwise}.weight",), deep_kernel(model)),
            Rule(f"{at}/depthwise/bias", (f"{depthwise}.bias",), as_is),
            *layer_norm(f"{at}/norm", norm),
            *dense(f"{at}/mlp0", fc1),
            *dense(f"{at}/mlp1", fc2),
            Rule(f"{at}/scale", (scale,), np.ravel),
        ]
        if stage:
            down = named(names.down)
            rules += [
                *layer_norm(f"encoder/norm{stage}", named(names.down_norm)),
                Rule(f"encoder/downsample{stage}/kernel", (f"{down}.weight",), flat_kernel),
                Rule(f"encoder/downsample{stage}/bias", (f"{down}.bias",), as_is),
            ]
    return tuple(rules)


def _convnext_model(names: _ConvNextNames, shapes: Shapes) -> Model:
    depths, widths = [], []
    for stage in range(4):
        source = (
            names.block.replace("{s}", str(stage))
            .replace("{odd}", str(2 * stage + 1))
            .replace(".", r"\.")
            .replace("{0}", r"(\d+)")
        )
        pattern = rf"{source}\.{names.parts[1]}\.weight"
        depths.append(count(shapes, pattern))
        widths.append(next((s[0] for n, s in shapes.items() if re.fullmatch(pattern, n)), 0))
    return {"depths": tuple(depths), "widths": tuple(widths)}


def _convnext(names: _ConvNextNames, marks: tuple[str, ...]) -> Family:
    return Family(
        "convnext",
        f"{names.stem}.weight",
        marks,
        functools.partial(_convnext_model, names),
        functools.partial(_convnext_rules, names),
        (r"(head|classifier)\..*",),
    )


TIMM = _convnext(_TIMM, (r"stages\.0\.blocks\.0\.conv_dw\.weight",))
TORCHVISION = _convnext(
    _TORCHVISION, (r"features\.1\.0\.layer_scale", r"features\.7\.0\.block\.0\.weight")
)
AUTHORS = _convnext(_AUTHORS, (r"stages\.0\.0\.dwconv\.weight",))
