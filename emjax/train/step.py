"""One step of training: gradient, check that it is finite, update, moving average; the same on any device.

The step is compiled by `jax.jit` with the shardings of the state and the batch; GSPMD adds the
collectives. Nothing else in emjax differs between devices.
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
from emjax.train import statistics
from emjax.train.optimizer import Schedule
from emjax.train.state import TrainState

Metrics = dict[str, jax.Array]
# Seconds that processes whose step is compiled wait for those that still compile it.
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
    """Returns the pure function that computes one step.

    A step whose loss or gradient is not finite changes only the counters, so that one broken crop
    does not end a run of weeks.

    Args:
        task: task whose loss is minimized.
        optimizer: optimizer as made by `make_optimizer`.
        schedule: learning rate as a function of the number of updates; used only for logging.
        accumulate_steps: number of batches of one update.
        ema_decay: decay of the moving average. It is ramped up, min(decay, (1 + n) / (10 + n))
            after n updates (our choice), since an average over a thousand updates would otherwise
            be mostly the initial weights after a hundred.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        # Folded in, not split and carried on: the key depends only on the step's number, so that
        # resuming is exact.
        key = jax.random.fold_in(state.rng, state.step)
        (loss, metrics), gradient = jax.value_and_grad(task.loss, has_aux=True)(
            state.params, batch, key
        )
        drift, gradient = gradient, statistics.without(gradient)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        params = statistics.followed(params, state.params, drift, state.step)
        count = state.step // accumulate_steps
        is_update = (state.step + 1) % accumulate_steps == 0
        if accumulate_steps > 1:
            # The optimizer's own counter decides instead of the step's number, since bad steps do
            # not count.
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
            # 0 if the step made no update: while gradients are accumulated, and on a bad step.
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

    The state is donated: after a call the old state must not be used.

    Args:
        step: step as made by `make_step`.
        state: state of arrays, or of their shapes and shardings.
        batch: batch of arrays, or of their shapes and shardings.
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
    # Wait for all processes: some find the program in their cache while others compile for minutes, but collectives on
    # CPUs give up after 30 s and end the run. The runtime's own service waits, since devices cannot wait that long.
    meet = multihost.get_barrier_sync_fn()
    meet(key="emjax_compiled", timeout_ms=COMPILE_TIMEOUT_S * 1000)
    return program
