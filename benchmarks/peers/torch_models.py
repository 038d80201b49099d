"""The networks of `emjax.models` in PyTorch: the same shapes, names, parameters and outputs.

Each is written as PyTorch runs it fastest, not as emjax writes it: convolutions with torch's own padding, activations
in place, scaled dot product attention, max pooling by the library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emjax.geometry.sizes import Size

_ACTIVATIONS = {
    "elu": lambda x: F.elu(x, inplace=True),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01, inplace=True),
}


def conv(channels: int, features: int, kernel: Size, bias: bool = True) -> nn.Conv3d:
    """A convolution that keeps the size."""
    return nn.Conv3d(channels, features, kernel, padding=tuple(k // 2 for k in kernel), bias=bias)


class NormAct(nn.GroupNorm):
    """Group normalization and activation."""

    def __init__(self, channels: int, groups: int, activation: str) -> None:
        groups = max(g for g in range(1, groups + 1) if channels % g == 0)
        super().__init__(groups, channels)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, c, z, y, x]` to itself."""
        return self.activation(super().forward(x))


class Block(nn.Module):
    """A convolution in the section, then two in the volume whose result is added."""

    def __init__(
        self, channels: int, features: int, kernel: Size, groups: int, activation: str
    ) -> None:
        super().__init__()
        self.conv0 = conv(channels, features, (1, 3, 3), bias=False)
        self.conv1 = conv(features, features, kernel, bias=False)
        self.conv2 = conv(features, features, kernel, bias=False)
        self.norm0, self.norm1, self.norm2 = (
            NormAct(features, groups, activation) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, c, z, y, x]` to `[b, features, z, y, x]`."""
        x = self.norm0(self.conv0(x))
        return self.norm2(x + self.conv2(self.norm1(self.conv1(x))))


class Upsample(nn.Module):
    """Depth to space, by one matrix product as in emjax: a depthwise transposed convolution is slower here, too."""

    def __init__(self, channels: int, features: int, stride: Size) -> None:
        super().__init__()
        self.stride = stride
        self.kernel = nn.Parameter(torch.randn(channels, features) / channels**0.5)
        self.bias = nn.Parameter(torch.zeros(features))
        self.spread = nn.Parameter(torch.ones(math.prod(stride), channels))
        self.spread_bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, c, z, y, x]` to `[b, features, z sz, y sy, x sx]`."""
        b, channels, z, y, w = x.shape
        sz, sy, sx = self.stride
        places, features = len(self.spread), len(self.bias)
        weight = (self.spread[:, :, None] * self.kernel).permute(0, 2, 1)
        bias = (self.bias + self.spread_bias @ self.kernel).repeat(places)
        x = F.conv3d(x, weight.reshape(places * features, channels, 1, 1, 1), bias)
        x = x.view(b, sz, sy, sx, features, z, y, w).permute(0, 4, 5, 1, 6, 2, 7, 3)
        return x.reshape(b, features, z * sz, y * sy, w * sx)


class Head(nn.Module):
    """What makes the output of the finest map."""

    def __init__(self, channels: int, out_channels: int, activation: str) -> None:
        super().__init__()
        self.conv, self.out = (
            conv(channels, channels, (1, 5, 5)),
            conv(channels, out_channels, (1, 1, 1)),
        )
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, c, z, y, x]` to logits."""
        return self.out(self.activation(self.conv(x)))


class UNet(nn.Module):
    """Twin of `emjax.models.unet.UNet` with depth-to-space upsampling."""

    def __init__(self, source: Any) -> None:
        """Copies the fields of emjax's network `source`."""
        super().__init__()
        widths, kernels, pools = source.widths, source.all_kernels, source.pools
        common = (source.groups, source.activation)
        self.pools, self.skips = pools, source.skips
        self.activation = _ACTIVATIONS[source.activation]
        self.stem = conv(1, widths[0], (1, 5, 5))
        self.encoder, self.decoder = nn.ModuleDict(), nn.ModuleDict()
        before = widths[0]
        for i, width in enumerate(widths[:-1]):
            self.encoder[f"level{i}"] = Block(before, width, kernels[i], *common)
            before = width
        self.centre = Block(before, widths[-1], kernels[-1], *common)
        before = widths[-1]
        for i in reversed(range(len(pools))):
            merged = widths[i] * (2 if self.skips == "concat" else 1)
            self.decoder[f"upsample{i}"] = Upsample(before, widths[i], pools[i])
            self.decoder[f"merge{i}"] = NormAct(merged, *common)
            self.decoder[f"level{i}"] = Block(merged, widths[i], kernels[i], *common)
            before = widths[i]
        self.head = Head(before, source.out_channels, source.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, 1, z, y, x]` to logits `[b, out, z, y, x]`."""
        x = self.activation(self.stem(x))
        levels = []
        for i, stride in enumerate(self.pools):
            x = self.encoder[f"level{i}"](x)
            levels.append(x)
            x = F.max_pool3d(x, stride, stride)
        x = self.centre(x)
        for i in reversed(range(len(self.pools))):
            x = self.decoder[f"upsample{i}"](x)
            if self.skips == "add":
                x = x + levels[i]
            elif self.skips == "concat":
                x = torch.cat([x, levels[i]], 1)
            x = self.decoder[f"level{i}"](self.decoder[f"merge{i}"](x))
        return self.head(x)


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int, heads: int, head_width: int, mlp_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm0, self.norm1 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)
        self.mlp0, self.mlp1 = nn.Linear(width, mlp_width), nn.Linear(mlp_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, n, width]` to itself."""
        b, n, _ = x.shape
        qkv = self.qkv(self.norm0(x)).view(b, n, 3, self.heads, self.head_width)
        y = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4).unbind(0))
        x = x + self.out(y.transpose(1, 2).reshape(b, n, -1))
        return x + self.mlp1(F.gelu(self.mlp0(self.norm1(x)), approximate="tanh"))


class ViT(nn.Module):
    """Twin of `emjax.models.vit.ViT` as pretraining has it: no skips, learned positions."""

    def __init__(self, source: Any, tokens: int) -> None:
        """Copies the fields of emjax's network `source`, which sees so many tokens."""
        super().__init__()
        if source.skips != "none" or source.positions != "learned":
            raise ValueError("the twin has learned positions and no skips")
        self.patch, self.strides = source.patch_size, source.decoder_strides
        self.stem = nn.Linear(math.prod(self.patch), source.width)
        self.encoder_positions = nn.Parameter(torch.randn(tokens, source.width) * 0.02)
        sizes = (source.width, source.heads, source.head_width, source.mlp_width)
        self.encoder = nn.ModuleList(TransformerBlock(*sizes) for _ in range(source.depth))
        self.centre = nn.LayerNorm(source.width, eps=1e-6)
        self.decoder = nn.ModuleDict()
        before = source.width
        for i, (width, stride) in enumerate(zip(source.decoder_widths, self.strides, strict=True)):
            self.decoder[f"upsample{i}"] = Upsample(before, width, stride)
            block = Block(2 * width, width, (1, 3, 3), source.groups, source.activation)
            self.decoder[f"level{i}"] = block
            before = width
        self.head = Head(before, source.out_channels, source.activation)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[b, 1, z, y, x]` to logits `[b, out, z, y, x]`."""
        b, _, z, y, w = x.shape
        pz, py, px = self.patch
        grid = (z // pz, y // py, w // px)
        x = x.view(b, grid[0], pz, grid[1], py, grid[2], px).permute(0, 1, 3, 5, 2, 4, 6)
        x = self.stem(x.reshape(b, math.prod(grid), -1)) + self.encoder_positions
        for block in self.encoder:
            x = block(x)
        x = self.centre(x).transpose(1, 2).reshape(b, -1, *grid)
        for i in range(len(self.strides)):
            x = self.decoder[f"upsample{i}"](x)
            x = self.decoder[f"level{i}"](torch.cat([x, x], 1))
        return self.head(x)


def copy_parameters(params: Mapping[str, Any], twin: nn.Module) -> None:
    """Gives a twin the parameters of emjax's network; raises where a name or shape has no match."""
    wanted = dict(twin.named_parameters())
    with torch.no_grad():
        for name, value in _named(params):
            target = wanted.pop(name)
            if target.shape != value.shape:
                raise ValueError(f"{name}: {tuple(target.shape)} here, {value.shape} in emjax")
            target.copy_(torch.from_numpy(np.array(value)))
    if wanted:
        raise ValueError(f"emjax's network lacks {sorted(wanted)}")


def _named(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, np.ndarray]]:
    """Names and layouts of torch for emjax's parameters."""
    found = []
    for key, value in params.items():
        if isinstance(value, Mapping) and key == "blocks":
            # One array for all layers of the scan.
            for name, stacked in _named(value):
                found += [(f"{prefix}{i}.{name}", layer) for i, layer in enumerate(stacked)]
        elif isinstance(value, Mapping):
            found += _named(value, f"{prefix}{key}.")
        elif key == "kernel" and "upsample" not in prefix:
            value = np.asarray(value)
            # Stacked dense kernels have three axes, single ones two.
            value = value.transpose(4, 3, 0, 1, 2) if value.ndim == 5 else value.swapaxes(-1, -2)
            found.append((f"{prefix}weight", value))
        else:
            name = "weight" if key == "scale" else key
            found.append((f"{prefix}{name}", np.asarray(value)))
    return found
