from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from emjax.train.state import abstract_state, create_state, state_bytes, with_params
from emjax.train.step import compile_step, make_step

from .toy import ToyBatches, ToyTask, same, toy_mesh


def _parts(mesh, optimizer, ema=False):
    task = ToyTask()
    abstract = abstract_state(task, optimizer, seed=0, ema=ema, mesh=mesh)
    return task, abstract, create_state(task, optimizer, seed=0, abstract=abstract)


def test_one_step_by_hand():
    mesh = toy_mesh()
    optimizer = optax.sgd(0.1)
    task, _, state = _parts(mesh, optimizer, ema=True)
    batch = {name: jnp.asarray(value) for name, value in next(ToyBatches()).items()}
    key = jax.random.fold_in(state.rng, 0)
    gradient = jax.grad(lambda p: task.loss(p, batch, key)[0])(state.params)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient)
    step = make_step(task, optimizer, lambda _: jnp.float32(0.1), ema_decay=0.9)
    new, metrics = step(state, batch)
    for a, b in zip(jax.tree.leaves(new.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    # The moving average is ramped up: 1/10 of the old one after no update.
    for average, old, p in zip(
        *map(jax.tree.leaves, (new.ema, state.params, new.params)), strict=True
    ):
        np.testing.assert_allclose(average, 0.1 * old + 0.9 * p, rtol=1e-5, atol=1e-7)
    assert int(new.step) == 1 and float(metrics["gradient_norm"]) > 0


def test_average_moves_on_updates_only():
    optimizer = optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation()
    task, _, state = _parts(toy_mesh(), optimizer, ema=True)
    step = make_step(task, optimizer, lambda _: 0.1, accumulate_steps=2, ema_decay=0.9)
    batches = ToyBatches()
    begin = state.ema
    state, _ = step(state, next(batches))
    assert same(begin, state.ema)
    state, _ = step(state, next(batches))
    assert not same(begin, state.ema)


def test_broken_step_changes_counters_only():
    optimizer = optax.adam(0.1)
    task, _, state = _parts(toy_mesh(), optimizer, ema=True)
    step = make_step(task, optimizer, lambda _: 0.1, ema_decay=0.9)
    new, metrics = step(state, next(ToyBatches(broken=(0,))))
    assert same((state.params, state.opt_state, state.ema), (new.params, new.opt_state, new.ema))
    assert int(new.step) == 1 and int(new.bad_steps) == 1 and np.isnan(metrics["loss"])
    new, _ = step(new, next(ToyBatches()))
    assert int(new.bad_steps) == 0


def test_state_is_donated_and_sharded():
    mesh = toy_mesh(4, fsdp=2)
    optimizer = optax.adam(0.1)
    task, abstract, state = _parts(mesh, optimizer)
    assert {leaf.sharding.mesh for leaf in jax.tree.leaves(abstract)} == {mesh}
    batch = {name: jnp.asarray(value) for name, value in next(ToyBatches()).items()}
    shardings = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("data", "fsdp")))
    batch = jax.device_put(batch, shardings)
    compiled = compile_step(make_step(task, optimizer, lambda _: 0.1), state, batch, mesh)
    # Every array of the new state lies where that of the old one did.
    aliases = compiled.as_text().splitlines()[0].count("-alias)")
    assert aliases == len(jax.tree.leaves(state))
    compiled(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_with_params_and_size():
    _, abstract, state = _parts(toy_mesh(), optax.sgd(0.1), ema=True)
    params = jax.tree.map(lambda p: np.full(p.shape, 2.0), state.params)
    new = with_params(state, params)
    assert all(
        float(jnp.min(p)) == 2.0 and p.dtype == jnp.float32 for p in jax.tree.leaves(new.params)
    )
    assert same(new.params, new.ema)
    count = 32 * 8 + 8 + 8
    assert state_bytes(abstract) == 2 * 4 * count + 2 * 4
