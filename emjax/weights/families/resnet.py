"""ResNets as torchvision and timm publish them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emjax.errors import InputError
from emjax.weights.families.family import (
    Family,
    Model,
    Shapes,
    batch_norm,
    count,
    deep_kernel,
    flat_kernel,
    stem_kernel,
)
from emjax.weights.rules import Rule


def _resnet_rules(model: Mapping[str, Any], shapes: Shapes) -> tuple[Rule, ...]:
    del shapes
    epsilon = 1e-5

    def block(number: int) -> str:
        return rf"encoder/stage{number}_block(\d+)"

    rules = [Rule("stem/conv/kernel", ("conv1.weight",), stem_kernel(model))]
    rules += batch_norm("stem/norm", "bn1", epsilon)
    for stage in range(4):
        source = f"layer{stage + 1}.{{0}}"
        for i in range(3):
            at = f"{block(stage)}/conv{i}/kernel"
            rules.append(Rule(at, (f"{source}.conv{i + 1}.weight",), deep_kernel(model)))
            rules += batch_norm(f"{block(stage)}/norm{i}", f"{source}.bn{i + 1}", epsilon)
        at = f"{block(stage)}/conv_skip/kernel"
        rules.append(Rule(at, (f"{source}.downsample.0.weight",), flat_kernel))
        rules += batch_norm(f"{block(stage)}/norm_skip", f"{source}.downsample.1", epsilon)
    return tuple(rules)


def _resnet_model(shapes: Shapes) -> Model:
    bottleneck = "layer1.0.conv3.weight" in shapes
    blocks = tuple(count(shapes, rf"layer{i}\.(\d+)\.conv1\.weight") for i in range(1, 5))
    for variant, has in (("resnet18", ((2, 2, 2, 2), False)), ("resnet50", ((3, 4, 6, 3), True))):
        if (blocks, bottleneck) == has:
            return {"variant": variant, "norm": "affine"}
    raise InputError(
        f"a ResNet of {blocks} blocks a stage{' of three convolutions' * bottleneck} is unknown; give a resnet18 or "
        "a resnet50"
    )


FAMILY = Family(
    "resnet",
    "conv1.weight",
    (r"bn1\.running_var", r"layer1\.0\.conv1\.weight", r"layer4\.1\.bn1\.weight"),
    _resnet_model,
    _resnet_rules,
    (r"fc\..*", r".*num_batches_tracked"),
)
