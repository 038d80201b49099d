"""The answer of a network for the section in the middle of a few, as 2D+ networks are trained and explained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax

from emjax.models.backbone import Backbone
from emjax.models.build import Params, apply
from emjax.models.encoder_decoder import EncoderDecoder

# Modules of an `EncoderDecoder` that see more than one section or the image itself: all later ones see the middle only.
_FIRST = "stem"
_IMAGE = "decoder_image0"
_DECODER = ("decoder",)  # takes the features of the deepest layer


def is_flat(backbone: Backbone) -> bool:
    """Returns whether all layers of a network but the first see one section at a time: whether it is a 2D+ network."""
    if not isinstance(backbone, EncoderDecoder):
        return False
    return (
        backbone.kernel_depth == 1
        and backbone.decoder_kernel[0] == 1
        and backbone.pools[-1][0] == 1
        and getattr(backbone, "attend", "section") == "section"
    )


def apply_middle(backbone: Backbone, params: Params, x: jax.Array) -> jax.Array:
    """Returns the output for the section in the middle.

    A 2D+ network computes nothing for the other sections: their first kernels would reach beyond the input, and the
    statistics of group normalizations would contain what comes of that. So the order of the sections matters as much as
    it does to the first kernel, which is what uniform fills rely on, and it takes a third of the time.

    Args:
        backbone: the network.
        params: its parameters.
        x: `[b, n, y, x, 1]`, n odd.

    Returns:
        `[b, 1, y, x, k]` logits.
    """
    middle = x.shape[1] // 2
    if not is_flat(backbone):
        return apply(backbone, params, x)["output"][:, middle : middle + 1]

    def only_middle(
        run: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if context.method_name != "__call__" or len(context.module.path) != 1:
            return run(*args, **kwargs)
        if context.module.name == _FIRST:
            return run(*args, **kwargs)[:, middle : middle + 1]
        if context.module.name == _IMAGE:
            return run(args[0][:, middle : middle + 1], *args[1:], **kwargs)
        return run(*args, **kwargs)

    with nn.intercept_methods(only_middle):
        return apply(backbone, params, x)["output"]


@contextlib.contextmanager
def open_centre(added: jax.Array) -> Iterator[list[jax.Array]]:
    """Lays open the features of the deepest layer of a network that is traced within.

    Args:
        added: what is added to them, so that a derivative with respect to them can be taken.

    Yields:
        A list that holds the features, the sum, after the network was traced.
    """
    seen: list[jax.Array] = []

    def tap(
        run: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if context.module.path != _DECODER or context.method_name != "__call__":
            return run(*args, **kwargs)
        seen.append(args[0] + added)
        return run(seen[0], *args[1:], **kwargs)

    with nn.intercept_methods(tap):
        yield seen
