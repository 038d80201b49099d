"""Optimizers and learning-rate schedules: our own, and those of the released code of the paper."""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from emjax.config import OPTIMIZERS, SCHEDULES, nearest
from emjax.errors import InputError
from emjax.tasks.task import Params
from emjax.train.rates import Layers, with_rates
from emjax.train.settings import OptimizerSettings

Schedule: TypeAlias = optax.Schedule

# The released schedule: polynomial of this power, down to this fraction of the peak rate over this
# many updates, then constant.
RELEASED_POWER = 1.5
RELEASED_UPDATES = 200_000
RELEASED_FINAL_FRACTION = 0.1
# The released epsilon. It is so large that for |g| << 0.01 Adam acts like SGD with a learning rate
# divided by 0.01.
RELEASED_EPSILON = 0.01


def make_schedule(settings: OptimizerSettings, num_updates: int) -> Schedule:
    """Returns the learning rate as a function of the number of updates made before.

    Args:
        settings: settings of the optimizer, of which the schedule's name, both learning rates and
            the share of the warm-up are used.
        num_updates: number of updates of the whole run.

    Raises:
        InputError: if the schedule is unknown.

    Source: `paper` follows the code of "Learning Multiscale Consistency for Self-supervised
    Electron Microscopy Instance Segmentation" (arXiv:2308.09917); `cosine` is one period of "SGDR"
    (arXiv:1608.03983).
    """
    name, peak = settings.schedule, settings.learning_rate
    if name not in SCHEDULES:
        raise InputError(f"optimizer.schedule='{name}' is unknown{nearest(name, SCHEDULES)}")
    if name == "paper":
        final = peak * RELEASED_FINAL_FRACTION
        return lambda count: (
            (peak - final) * (1 - jnp.minimum(count / RELEASED_UPDATES, 1.0)) ** RELEASED_POWER
            + final
        )
    warmup = round(settings.warmup_fraction * num_updates)
    final = settings.final_learning_rate if name == "cosine" else peak
    decay_updates = max(1, num_updates - warmup)

    def schedule(count: Any) -> jax.Array:
        # count + 1, so that the rate of the first update is not 0.
        rising = peak * (count + 1) / (warmup + 1)
        progress = jnp.clip((count - warmup) / decay_updates, 0.0, 1.0)
        falling = final + (peak - final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return jnp.where(count < warmup, rising, falling)

    return schedule


def make_optimizer(
    settings: OptimizerSettings, num_steps: int, layers: Layers = ()
) -> tuple[optax.GradientTransformation, Schedule]:
    """Returns the optimizer of a run, and its learning rate as a function of the number of updates.

    Args:
        settings: settings of the optimizer.
        num_steps: number of batches of the whole run.
        layers: layers of the backbone, for `layer_decay`; see `emjax.train.rates`.

    Raises:
        InputError: if the optimizer or the schedule is unknown.

    Source: LAMB (arXiv:1904.00962), AdamW (arXiv:1711.05101), AMSGrad (OpenReview ryQu7f-RZ).
    `adam_released` is Adam with AMSGrad and coupled L2 of every parameter. optax takes the maximum
    of the second moments after correcting their bias, the released code before; the two differ only
    in the first few hundred updates.
    """
    every = settings.accumulate_steps
    schedule = make_schedule(settings, max(1, num_steps // every))
    name, decay = settings.name, settings.weight_decay
    b1, b2 = settings.betas
    if name == "adamw":
        inner = optax.adamw(schedule, b1, b2, weight_decay=decay, mask=decay_mask)
    elif name == "lamb":
        inner = optax.lamb(schedule, b1, b2, weight_decay=decay, mask=decay_mask)
    elif name == "sgd":
        inner = optax.chain(
            optax.add_decayed_weights(decay, decay_mask),
            optax.sgd(schedule, momentum=b1, nesterov=True),
        )
    elif name == "adam_released":
        inner = optax.chain(
            optax.add_decayed_weights(decay),
            optax.scale_by_amsgrad(b1, b2, eps=RELEASED_EPSILON),
            optax.scale_by_learning_rate(schedule),
        )
    else:
        raise InputError(f"optimizer.name='{name}' is unknown{nearest(name, OPTIMIZERS)}")
    if settings.clip_norm:
        inner = optax.chain(optax.clip_by_global_norm(settings.clip_norm), inner)
    if settings.layer_decay < 1 or settings.freeze:
        inner = with_rates(inner, layers, settings.layer_decay, settings.freeze)
    if every == 1:
        return inner, schedule
    # The negatives of a contrastive loss come from one batch, however many batches are accumulated.
    return optax.MultiSteps(inner, every_k_schedule=every).gradient_transformation(), schedule


def decay_mask(params: Params) -> Any:
    """Returns which parameters have weight decay: kernels, but not biases, scales of norms or positions.

    Args:
        params: nested dicts of arrays.

    Returns:
        The same tree of bools. It is decided by name as well as by rank, because scanned blocks
        stack their biases into matrices.
    """

    def decays(path: tuple[Any, ...], leaf: jax.Array) -> bool:
        names = [str(getattr(part, "key", part)) for part in path]
        position = any("position" in name for name in names)
        return leaf.ndim > 1 and names[-1] not in ("bias", "scale") and not position

    return jax.tree_util.tree_map_with_path(decays, params)
