"""The state of training: everything that a step changes, as global arrays, from which a run resumes exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh

from emjax.parallel.compile import jit
from emjax.parallel.sharding import infer_sharding
from emjax.tasks.task import Params, Task


class TrainState(struct.PyTreeNode):
    """State of training after `step` batches.

    Attributes:
        step: number of batches seen, int32 scalar.
        params: float32 parameters.
        opt_state: state of the optimizer.
        ema: exponential moving average of the parameters, or None.
        rng: typed PRNG key; it never changes, since each step folds in its number.
        bad_steps: number of latest consecutive steps that were left out because they were not
            finite, int32 scalar.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState
    ema: Params | None
    rng: jax.Array
    bad_steps: jax.Array

    @property
    def best_params(self) -> Params:
        """The moving average of the parameters if there is one, else the parameters."""
        return self.params if self.ema is None else self.ema


def abstract_state(
    task: Task, optimizer: optax.GradientTransformation, *, seed: int, ema: bool, mesh: Mesh
) -> TrainState:
    """Returns shapes, types and shardings of the state without computing anything.

    Args:
        task: task that makes the parameters.
        optimizer: optimizer, whose state is sharded like the parameters, by shape.
        seed: seed of the parameters and of the run's randomness.
        ema: whether a moving average of the parameters is kept.
        mesh: device mesh.

    Returns:
        A `TrainState` whose leaves are `jax.ShapeDtypeStruct` with shardings.
    """
    shapes = jax.eval_shape(lambda: _initial_state(task, optimizer, seed, ema))
    shardings = infer_sharding(shapes, mesh)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def create_state(
    task: Task, optimizer: optax.GradientTransformation, *, seed: int, abstract: TrainState
) -> TrainState:
    """Makes the state of step 0 directly on the devices, so that no host holds all of it.

    Args:
        task: task that makes the parameters.
        optimizer: optimizer, as given to `abstract_state`.
        seed: seed, as given to `abstract_state`.
        abstract: shapes and shardings, as returned by `abstract_state`.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    ema = abstract.ema is not None
    return jit(lambda: _initial_state(task, optimizer, seed, ema), out_shardings=shardings)()


def with_params(state: TrainState, params: Params) -> TrainState:
    """Returns the state with other parameters, and with a moving average that starts from them.

    Args:
        state: state as made by `create_state`; the initial state of the optimizers used here does
            not depend on the parameters.
        params: new parameters, the same tree; host arrays that are equal on every process, or
            arrays of the state itself.
    """

    def place(old: jax.Array, new: np.ndarray | jax.Array) -> jax.Array:
        if isinstance(new, jax.Array):
            return new
        return jax.make_array_from_callback(
            old.shape, old.sharding, lambda index: np.asarray(new[index], old.dtype)
        )

    placed = jax.tree.map(place, state.params, params)
    # A copy, since the step donates its state, and one buffer cannot be donated twice.
    ema = None if state.ema is None else jax.tree.map(jnp.copy, placed)
    return state.replace(params=placed, ema=ema)


def state_bytes(abstract: TrainState) -> int:
    """Returns the size of a checkpoint before compression, in bytes."""
    arrays = [leaf for leaf in jax.tree.leaves(abstract) if not _is_key(leaf)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in arrays)


def _is_key(leaf: jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _initial_state(
    task: Task, optimizer: optax.GradientTransformation, seed: int, ema: bool
) -> TrainState:
    init_key, rng = jax.random.split(jax.random.key(seed))
    params = task.init(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else None,
        rng=rng,
        bad_steps=jnp.zeros((), jnp.int32),
    )
