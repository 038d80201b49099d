"""Vision transformers: with fused projections (DINO, DINOv2, MAE, timm), and as the transformers library has them."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from emjax.errors import InputError
from emjax.weights.families.family import (
    Family,
    Model,
    Shapes,
    count,
    dense,
    layer_norm,
    stem_kernel,
)
from emjax.weights.resampling import cubic_matrix
from emjax.weights.rules import Rule, as_is, transposed

_HEAD_WIDTH = 64


def _joined_kernels(*parts: np.ndarray) -> np.ndarray:
    """Returns the kernel `[i, 3 o]` of query, key and value, each of which torch has as `[o, i]`."""
    return np.concatenate([transposed(part) for part in parts], axis=1)


def _joined_biases(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)


def _tokens(kind: np.ndarray, registers: np.ndarray | None = None) -> np.ndarray:
    """Returns `[1 + registers, width]` of the class token and the registers, each `[1, n, width]`."""
    return kind[0] if registers is None else np.concatenate([kind[0], registers[0]])


def _positions(model: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
    """Returns `[1 + places, width]`; where the class token has none, as in timm's DINOv2, it has zeros.

    Files of networks that saw images of another size have another grid; it is resampled to that of the network.
    """
    places = places[0]
    grid = math.isqrt(len(places))
    kind = np.zeros_like(places[:1]) if grid * grid == len(places) else places[:1]
    places = places[-grid * grid :]
    wanted = model["position_grid"]
    if wanted != grid:
        square = places.reshape(grid, grid, -1)
        matrix = cubic_matrix(grid, wanted, model["resampling"])
        places = np.einsum("ah,bw,hwd->abd", matrix, matrix, square).reshape(wanted * wanted, -1)
    return np.concatenate([kind, places])


def _model(
    shapes: Shapes,
    class_token: str,
    places: str,
    kernel: str,
    block: str,
    mlp: str,
    registers: tuple[str, ...],
) -> Model:
    """Returns the fields of a transformer from the shapes of some of its arrays."""
    width, patch = shapes[class_token][-1], shapes[kernel][-1]
    grid = math.isqrt(shapes[places][1])
    tokens = next((shapes[name][1] for name in registers if name in shapes), 0)
    depth = count(shapes, rf"{block}\.(\d+)\..*")
    if width % _HEAD_WIDTH:
        raise InputError(
            f"a ViT of width {width} has no heads of {_HEAD_WIDTH}; ViT-S, B and L can be imported"
        )
    levels = {16: (16, 32, 64, 128), 14: (16, 64), 8: (16, 32, 64)}
    if patch not in levels:
        raise InputError(
            f"a ViT of {patch}x{patch} pixels a token is none that is known; give 8, 14 or 16"
        )
    count_taps = len(levels[patch]) - 1
    return {
        "patch": patch,
        "width": width,
        "depth": depth,
        "heads": width // _HEAD_WIDTH,
        "mlp_width": shapes[mlp][0],
        "registers": tokens,
        "position_grid": grid,
        "decoder_widths": levels[patch],
        # Evenly through the depth, as UNETR has them.
        "taps": tuple(max(0, depth * (i + 1) // (count_taps + 1) - 1) for i in range(count_taps)),
        "resampling": "antialias" if tokens else "offset",
    }


def _shared(
    model: Mapping[str, Any], kernel: str, class_token: str, places: str, registers: str
) -> list[Rule]:
    """Returns the rules before the blocks."""
    special = (class_token, registers) if model["registers"] else (class_token,)
    return [
        Rule("stem/kernel", (f"{kernel}.weight",), stem_kernel(model)),
        Rule("stem/bias", (f"{kernel}.bias",), as_is),
        Rule("encoder_tokens", special, _tokens),
        Rule("encoder_positions", (places,), functools.partial(_positions, model)),
        # A published network has seen sections one by one: along z it knows no place.
        Rule("encoder_sections", (places,), functools.partial(_no_places, model)),
    ]


def _no_places(model: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
    return np.zeros((model["section_positions"], places.shape[-1]), np.float32)


def _blocks(
    source: str,
    norms: tuple[str, str],
    qkv: tuple[str, ...],
    out: str,
    mlp: tuple[str, str],
    scales: tuple[str, str],
) -> list[Rule]:
    """Returns the rules of the blocks, whose parameters are stacked."""
    at = "encoder/blocks"
    kernels, biases = (
        tuple(f"{source}.{name}.{part}" for name in qkv) for part in ("weight", "bias")
    )
    return [
        *layer_norm(f"{at}/norm0", f"{source}.{norms[0]}", True),
        *layer_norm(f"{at}/norm1", f"{source}.{norms[1]}", True),
        Rule(f"{at}/qkv/kernel", kernels, _joined_kernels, True),
        Rule(f"{at}/qkv/bias", biases, _joined_biases, True),
        *dense(f"{at}/out", f"{source}.{out}", True),
        *dense(f"{at}/mlp0", f"{source}.{mlp[0]}", True),
        *dense(f"{at}/mlp1", f"{source}.{mlp[1]}", True),
        Rule(f"{at}/scale0", (f"{source}.{scales[0]}",), as_is, True),
        Rule(f"{at}/scale1", (f"{source}.{scales[1]}",), as_is, True),
    ]


def _fused_model(shapes: Shapes) -> Model:
    registers = ("register_tokens", "reg_token")
    model = _model(
        shapes,
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks",
        "blocks.0.mlp.fc1.weight",
        registers,
    )
    model["layer_scale"] = "blocks.0.ls1.gamma" in shapes
    return model


def _fused_rules(model: Mapping[str, Any], shapes: Shapes) -> tuple[Rule, ...]:
    registers = "reg_token" if "reg_token" in shapes else "register_tokens"
    return (
        *_shared(model, "patch_embed.proj", "cls_token", "pos_embed", registers),
        *_blocks(
            "blocks.{layer}",
            ("norm1", "norm2"),
            ("attn.qkv",),
            "attn.proj",
            ("mlp.fc1", "mlp.fc2"),
            ("ls1.gamma", "ls2.gamma"),
        ),
        *layer_norm("centre", "norm"),
    )


_SEPARATE = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


def _transformers_model(mlp: str, scale: str, shapes: Shapes) -> Model:
    model = _model(
        shapes,
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        "embeddings.patch_embeddings.projection.weight",
        r"encoder\.layer",
        f"encoder.layer.0.{mlp}.weight",
        ("embeddings.register_tokens",),
    )
    model["layer_scale"] = f"encoder.layer.0.{scale}" in shapes
    if not model["registers"]:
        model["resampling"] = "exact"
    return model


def _transformers_rules(
    norms: tuple[str, str],
    mlp: tuple[str, str],
    scales: tuple[str, str],
    model: Mapping[str, Any],
    shapes: Shapes,
) -> tuple[Rule, ...]:
    del shapes
    return (
        *_shared(
            model,
            "embeddings.patch_embeddings.projection",
            "embeddings.cls_token",
            "embeddings.position_embeddings",
            "embeddings.register_tokens",
        ),
        *_blocks("encoder.layer.{layer}", norms, _SEPARATE, "attention.output.dense", mlp, scales),
        *layer_norm("centre", "layernorm"),
    )


# What predicts masked patches, classes and clusters.
_LEFT_OVER = (r".*mask_token", r"decoder.*", r"(head|fc_norm|pooler|classifier)\b.*")
_SCALES = ("layer_scale1.lambda1", "layer_scale2.lambda1")
_PLAIN_MLP = ("intermediate.dense", "output.dense")

FUSED = Family(
    "image_vit",
    "patch_embed.proj.weight",
    ("cls_token", "pos_embed", r"blocks\.0\.attn\.qkv\.weight", r"norm\.weight"),
    _fused_model,
    _fused_rules,
    _LEFT_OVER,
)
TRANSFORMERS = Family(
    "image_vit",
    "embeddings.patch_embeddings.projection.weight",
    (
        r"embeddings\.cls_token",
        r"encoder\.layer\.0\.intermediate\.dense\.weight",
        r"layernorm\.weight",
    ),
    functools.partial(_transformers_model, _PLAIN_MLP[0], _SCALES[0]),
    functools.partial(
        _transformers_rules, ("layernorm_before", "layernorm_after"), _PLAIN_MLP, _SCALES
    ),
    _LEFT_OVER,
)
DINOV2_TRANSFORMERS = Family(
    "image_vit",
    "embeddings.patch_embeddings.projection.weight",
    (r"embeddings\.cls_token", r"encoder\.layer\.0\.layer_scale1\.lambda1", r"layernorm\.weight"),
    functools.partial(_transformers_model, "mlp.fc1", _SCALES[0]),
    functools.partial(_transformers_rules, ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2"), _SCALES),
    _LEFT_OVER,
)
