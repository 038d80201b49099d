"""One step of training: gradient, guard, update, moving average; on any device the same.

The step is compiled by `jax.jit` (what used to be `pjit`) with the shardings of the state and the
batch; GSPMD adds the collectives. Nothing else in emjax differs between devices.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from orbax.checkpoint import multihost

from emjax.parallel.compile import jit
from emjax.parallel.mesh import batch_sharding, replicated
from emjax.tasks.task import Batch, Task
from emjax.train.optimizer import Schedule
from emjax.train.state import TrainState

Metrics = dict[str, jax.Array]
# How long processes that have the step wait for those that compile it.
COMPILE_TIMEOUT_S = 3600

TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    schedule: Schedule,
    *,
    accumulate_steps: int = 1,
    ema_decay: float = 0.0,
) -> TrainStep:
    """Returns the pure function of one step.

    A step whose loss or gradient is not finite changes nothing but the counters, so that one broken
    crop does not end a run of weeks.

    Args:
        task: its loss is minimised.
        optimizer: as made by `make_optimizer`.
        schedule: learning rate of an update, only logged.
        accumulate_steps: batches of one update.
        ema_decay: of the moving average; it is ramped up, min(decay, (1 + n) / (10 + n)) after n
            updates (our choice), or an average over a thousand updates would be mostly noise after
            a hundred.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        # Never a carried split: the key of a step depends on its number alone, so resuming is
        # exact.
        key = jax.random.fold_in(state.rng, state.step)
        (loss, metrics), gradient = jax.value_and_grad(task.loss, has_aux=True)(
            state.params, batch, key
        )
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        count = state.step // accumulate_steps
        is_update = (state.step + 1) % accumulate_steps == 0
        if accumulate_steps > 1:
            # Bad steps do not count, so the optimizer's own counter decides, not the number of the
            # step.
            before, after = state.opt_state, opt_state
            assert isinstance(before, optax.MultiStepsState)
            assert isinstance(after, optax.MultiStepsState)
            count, is_update = before.gradient_step, after.mini_step == 0
        ema = None
        if state.ema is not None:
            decay = jnp.minimum(ema_decay, (1.0 + count) / (10.0 + count))
            decay = jnp.where(is_update, decay, 1.0)
            ema = jax.tree.map(lambda old, new: old * decay + new * (1 - decay), state.ema, params)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        params, opt_state, ema = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, ema),
            (state.params, state.opt_state, state.ema),
        )
        state = state.replace(
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema=ema,
            bad_steps=jnp.where(finite, 0, state.bad_steps + 1),
        )
        metrics = {name: value.astype(jnp.float32) for name, value in metrics.items()}
        metrics |= {
            "loss": loss.astype(jnp.float32),
            "gradient_norm": norm,
            "parameter_norm": optax.tree.norm(params),
            # 0 where no update was made: between those of accumulated gradients, and on a bad step.
            "update_norm": jnp.where(finite, optax.tree.norm(updates), 0.0),
            "learning_rate": jnp.asarray(schedule(count), jnp.float32),
            "bad_steps": state.bad_steps,
        }
        return state, metrics

    return step


def compile_step(
    step: TrainStep, state: TrainState, batch: Batch, mesh: Mesh
) -> jax.stages.Compiled:
    """Compiles a step ahead of its first call, so that compiling is not part of the measured rate.

    The state is donated: after a call the old one must not be used.

    Args:
        step: as made by `make_step`.
        state: arrays, or their shapes and shardings.
        batch: likewise.
        mesh: device mesh.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    compiled = jit(
        step,
        platform=mesh.devices.flat[0].platform,
        donate_argnums=0,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, replicated(mesh)),
    )
    with jax.set_mesh(mesh):
        program = compiled.lower(state, batch).compile()
    # Some processes find the program in their cache and others compile for minutes, but collectives on CPUs give up
    # after 30 s, and take the run with them. Through the runtime's own service, since devices cannot wait that long.
    meet = multihost.get_barrier_sync_fn()
    meet(key="emjax_compiled", timeout_ms=COMPILE_TIMEOUT_S * 1000)
    return program
