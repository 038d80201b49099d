"""Inference and training of the twins, in every form that PyTorch offers; the best of them counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peers.torch_models import UNet, ViT
from torch import nn

# Memory format, and whether the network is compiled.
FORMS = {
    "torch": (torch.contiguous_format, False),
    "torch_channels_last": (torch.channels_last_3d, False),
    "torch_compile": (torch.contiguous_format, True),
    "torch_compile_channels_last": (torch.channels_last_3d, True),
}


def make(
    backbone: Any, batch: int, crop: tuple[int, int, int], form: str, train: bool, device: str
) -> Callable[[], dict[str, int]]:
    """Prepares one step of a twin.

    Args:
        backbone: emjax's network.
        batch: crops of a step.
        crop: (z, y, x) voxels.
        form: of `FORMS`.
        train: forward, backward and AdamW; else forward alone.
        device: 'cpu', float32; 'gpu', bfloat16 by autocast.
    """
    place = "cuda" if device == "gpu" else "cpu"
    memory_format, compiled = FORMS[form]
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    twin: nn.Module = build(backbone, crop).to(place, memory_format=memory_format)
    count = sum(p.numel() for p in twin.parameters())
    twin = torch.compile(twin) if compiled else twin
    draw = np.random.default_rng(0).random((2, batch, 1, *crop), np.float32)
    image, target = (torch.from_numpy(a).to(place, memory_format=memory_format) for a in draw)
    autocast = torch.autocast(place, torch.bfloat16, enabled=place == "cuda")

    def wait() -> dict[str, int]:
        if place == "cuda":
            torch.cuda.synchronize()
        return {"parameters": count}

    def infer() -> dict[str, int]:
        with torch.inference_mode(), autocast:
            twin(image)
        return wait()

    if not train:
        twin.eval()
        return infer
    optimizer = torch.optim.AdamW(twin.parameters(), 1e-4, fused=True)

    def step() -> dict[str, int]:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = ((twin(image).float() - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        return wait()

    return step


def build(backbone: Any, crop: tuple[int, int, int]) -> nn.Module:
    """Returns the twin of emjax's network for crops of a size."""
    if type(backbone).__name__ == "UNet":
        return UNet(backbone)
    tokens = int(np.prod([n // p for n, p in zip(crop, backbone.patch_size, strict=True)]))
    return ViT(backbone, tokens)
