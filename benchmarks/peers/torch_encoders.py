"""Encoders of photographs as timm has them, in every form that PyTorch offers; the best of them counts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import timm
import torch
from torch import nn

# Memory format, and whether the network is compiled.
FORMS = {
    "torch": (torch.contiguous_format, False),
    "torch_channels_last": (torch.channels_last, False),
    "torch_compile": (torch.contiguous_format, True),
    "torch_compile_channels_last": (torch.channels_last, True),
}


class Encoder(nn.Module):
    """A network of timm up to its deepest features, for grey images."""

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        size = {"img_size": side} if name.startswith("vit") else {}
        self.net = timm.create_model(name, num_classes=0, in_chans=1, **size)
        self._blocks = hasattr(self.net, "conv_head")
        if self._blocks:
            # Ours ends before the convolution that only the classifier sees.
            self.net.conv_head, self.net.bn2 = nn.Identity(), nn.Identity()
        self._normed = name.startswith("convnext")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps `[b, 1, y, x]` to features, or to tokens."""
        features = self.net.forward_features(image)
        return self.net.head.norm(features) if self._normed else features


def make(
    name: str, sections: int, side: int, form: str, device: str
) -> Callable[[], dict[str, int]]:
    """Prepares the inference of a network.

    Args:
        name: of the network in timm.
        sections: images of a batch.
        side: of an image, pixels.
        form: of `FORMS`.
        device: 'cpu', float32; 'gpu', bfloat16 by autocast.
    """
    place = "cuda" if device == "gpu" else "cpu"
    memory_format, compiled = FORMS[form]
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    twin: nn.Module = Encoder(name, side).to(place, memory_format=memory_format).eval()
    count = sum(p.numel() for p in twin.parameters())
    twin = torch.compile(twin) if compiled else twin
    draw = np.random.default_rng(0).random((sections, 1, side, side), np.float32)
    image = torch.from_numpy(draw).to(place, memory_format=memory_format)
    autocast = torch.autocast(place, torch.bfloat16, enabled=place == "cuda")

    def infer() -> dict[str, int]:
        with torch.inference_mode(), autocast:
            twin(image)
        if place == "cuda":
            torch.cuda.synchronize()
        return {"parameters": count}

    return infer
