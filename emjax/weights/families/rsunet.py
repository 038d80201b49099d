"""The residual symmetric U-Net for synaptic clefts, as its authors published it (`mip1_d2_1175k`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from emjax.weights.families.family import Family, Model, Shapes, batch_norm, count
from emjax.weights.rules import Rule, as_is

_EPSILON = 1e-5


def _volume_kernel(array: np.ndarray) -> np.ndarray:
    """Returns the kernel `[z, y, x, i, o]` of a convolution that torch has as `[o, i, z, y, x]`."""
    if array.ndim != 5:
        raise ValueError(f"shape {array.shape} is no kernel in three dimensions")
    return array.transpose(2, 3, 4, 1, 0)


def _conv(parameter: str, source: str) -> Rule:
    return Rule(f"{parameter}/kernel", (f"{source}.weight",), _volume_kernel)


def _block(parameter: str, source: str) -> list[Rule]:
    rules = []
    for i in range(3):
        rules.append(_conv(f"{parameter}/conv{i}", f"{source}.conv{i + 1}.conv"))
        rules += batch_norm(f"{parameter}/norm{i}", f"{source}.bn{i + 1}", _EPSILON)
    return rules


def _depth(shapes: Shapes) -> int:
    return count(shapes, r"convmod(\d+)\.conv1\.conv\.weight")


def _model(shapes: Shapes) -> Model:
    sources = [f"convmod{i}.conv3.conv.weight" for i in range(_depth(shapes))]
    out = next(shape for name, shape in shapes.items() if name.startswith("outputdeconv."))
    return {
        "widths": tuple(shapes[name][0] for name in sources),
        "kernels": tuple(tuple(shapes[name][2:]) for name in sources),
        "out_channels": out[0],
        "norm": "affine",
        "skips": "add",
    }


def _rules(model: Mapping[str, Any], shapes: Shapes) -> tuple[Rule, ...]:
    del model
    head = next(n for n in shapes if n.startswith("outputdeconv.") and n.endswith(".weight"))
    head = head.removesuffix(".weight")
    last = _depth(shapes) - 1
    return (
        _conv("stem", "inputconv.conv.conv"),
        Rule("stem/bias", ("inputconv.conv.conv.bias",), as_is),
        *_block(r"encoder/level(\d+)", "convmod{0}"),
        *_block("centre", f"convmod{last}"),
        _conv(r"decoder/upsample(\d+)", "rszconvmod{0}.upsampling.conv.conv"),
        *batch_norm(r"decoder/merge(\d+)", "rszconvmod{0}.bn1", _EPSILON),
        *_block(r"decoder/level(\d+)", "rszconvmod{0}.convmod"),
        _conv("decoder/embed", "embedconv.conv.conv"),
        Rule("decoder/embed/bias", ("embedconv.conv.conv.bias",), as_is),
        _conv("head", head),
        Rule("head/bias", (f"{head}.bias",), as_is),
    )


FAMILY = Family(
    "rsunet",
    "inputconv.conv.conv.weight",
    (r"rszconvmod0\.upsampling\.conv\.conv\.weight", r"outputdeconv\..*\.weight"),
    _model,
    _rules,
    (r".*num_batches_tracked",),
    parts=("stem", "encoder", "centre", "decoder", "head"),
)
