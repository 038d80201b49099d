"""No shortcut by position: features that never look at the image must not be a minimum of the
losses.

The codes optimised here are free tables, one a view, read at positions: more than any network could
make of zero padding or positional embeddings. `b` crops have the same query positions, and each
crop's second view lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emjax.losses.contrastive import nce
from emjax.losses.tokens import sample_features

BATCH, COUNT, SIZE = 6, 12, 16
GRID = (4, 14, 14)
VIEWS = ("first", "second")
# A code that tells apart nothing but positions cannot tell apart the crops.
FLOOR = float(np.log(BATCH))


def _both_ways(first: jax.Array, second: jax.Array, **options: Any) -> jax.Array:
    """The loss from the first to the second view and back, as the task has it."""
    return 0.5 * (nce(first, second, **options) + nce(second, first, **options))


def _optimised(loss: Callable[[Any], jax.Array], params: Any, steps: int = 300) -> float:
    optimiser = optax.adam(3e-2)

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), value

    run = jax.jit(lambda p: jax.lax.scan(step, (p, optimiser.init(p)), None, length=steps))
    (params, _), values = run(params)
    assert values[-1] < values[0]
    return float(jax.jit(loss)(params))


def _tables(shape: tuple[int, ...], seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name in VIEWS}


def _positions() -> tuple[jax.Array, jax.Array]:
    """Positions `[b, n, 3]` in the first view, the same in all crops, and their true ones in the
    second."""
    rng = np.random.default_rng(1)
    cells = rng.permutation(2 * 8 * 8)[:COUNT]
    points = np.stack(np.unravel_index(cells, (2, 8, 8)), axis=1) + np.array([1.0, 3.0, 3.0])
    offsets = rng.uniform([-1, -3, -3], [1, 3, 3], size=(BATCH, 1, 3))
    first = np.broadcast_to(points, (BATCH, COUNT, 3))
    return jnp.asarray(first, jnp.float32), jnp.asarray(points - offsets, jnp.float32)


def _read(table: jax.Array, positions: jax.Array) -> jax.Array:
    return sample_features(table, positions.reshape(-1, 3))


def _flat(tokens: jax.Array) -> jax.Array:
    return tokens.reshape(-1, tokens.shape[-1])


def test_position_codes_cannot_solve_the_loss_of_spatial_tokens():
    first, second = _positions()

    def loss(tables: dict[str, jax.Array]) -> jax.Array:
        return _both_ways(_read(tables["first"], first), _read(tables["second"], second))

    value = _optimised(loss, _tables((*GRID, SIZE)))
    # It falls from more than log (b n) = 4.3 to log b = 1.8, where it has to stay.
    assert FLOOR - 1e-4 < value < FLOOR + 0.1


def test_the_same_codes_solve_the_loss_with_negatives_of_one_crop_and_aligned_views():
    first, _ = _positions()

    def loss(tables: dict[str, jax.Array]) -> jax.Array:
        tokens = [_read(tables[name], first).reshape(BATCH, COUNT, SIZE) for name in VIEWS]
        return jnp.mean(jax.vmap(_both_ways)(*tokens))

    assert _optimised(loss, _tables((*GRID, SIZE))) < 0.05


def test_aligned_views_alone_do_not_open_the_shortcut_when_negatives_are_global():
    first, _ = _positions()

    def loss(tables: dict[str, jax.Array]) -> jax.Array:
        return _both_ways(_read(tables["first"], first), _read(tables["second"], first))

    assert abs(_optimised(loss, _tables((*GRID, SIZE))) - FLOOR) < 0.05


def test_several_levels_and_masked_positions_do_not_open_it():
    first, second = _positions()
    rng = np.random.default_rng(2)
    valid = rng.uniform(size=(BATCH, 1, COUNT)) < 0.7
    weights = jnp.asarray(np.broadcast_to(valid, (BATCH, 2, COUNT)), jnp.float32).ravel()
    place = np.broadcast_to(np.arange(BATCH * COUNT).reshape(BATCH, 1, COUNT), (BATCH, 2, COUNT))
    # A position that is valid in m crops costs at least log m there, each time.
    crops = np.broadcast_to(valid.sum(axis=0), valid.shape)[valid]
    floor = float(np.mean(np.log(crops)))

    def loss(tables: dict[str, dict[str, jax.Array]]) -> jax.Array:
        def tokens(view: str, positions: jax.Array) -> jax.Array:
            levels = [
                _read(tables[level][view], positions).reshape(BATCH, COUNT, SIZE)
                for level in ("coarse", "fine")
            ]
            return _flat(jnp.stack(levels, axis=1))

        return _both_ways(
            tokens("first", first),
            tokens("second", second),
            weights=weights,
            group=jnp.asarray(place.ravel()),
        )

    tables = {"coarse": _tables((*GRID, SIZE), 3), "fine": _tables((*GRID, SIZE), 4)}
    assert floor - 1e-4 < _optimised(loss, tables) < floor + 0.3


@pytest.mark.parametrize("negatives", ["global", "sample"])
def test_channel_tokens(negatives):
    """A channel that is always the same map: told from other channels, never from other crops."""

    def loss(tables: dict[str, jax.Array]) -> jax.Array:
        tokens = [jnp.broadcast_to(tables[name], (BATCH, COUNT, SIZE)) for name in VIEWS]
        if negatives == "sample":
            return jnp.mean(jax.vmap(_both_ways)(*tokens))
        return _both_ways(*map(_flat, tokens))

    value = _optimised(loss, _tables((COUNT, SIZE)))
    if negatives == "global":
        assert FLOOR - 1e-4 < value < FLOOR + 0.05
    else:
        assert value < 0.05


def _attend(params: dict[str, jax.Array], queries: jax.Array, keys: jax.Array) -> jax.Array:
    """One head of cross-attention inside each crop, `[b, n, d]`."""
    scores = jnp.einsum("bnd,bmd->bnm", queries @ params["query"], keys @ params["key"])
    return jax.nn.softmax(scores, axis=-1) @ (keys @ params["value"])


@pytest.mark.parametrize("queried", ["first", "second", "second_on_a_grid"])
def test_cross_attention(queried):
    """Soft matching is safe where the queries lie at the same positions in every crop, and only
    there.

    A token that is read at another position in each crop names its crop by that position, and
    attention can hand its name on. So the second direction needs query positions of its own, common
    to all crops, in the second view.
    """
    common, moved = _positions()
    positions = {"first": common, "second": moved}
    if queried == "second_on_a_grid":
        positions = {"first": moved, "second": common}
    rng = np.random.default_rng(5)
    params = {
        "tables": _tables((*GRID, SIZE), 6),
        "matcher": {
            name: jnp.asarray(rng.normal(size=(SIZE, SIZE)), jnp.float32) / SIZE**0.5
            for name in ("query", "key", "value")
        },
    }

    def loss(params: dict[str, Any]) -> jax.Array:
        tokens = {
            view: _read(params["tables"][view], positions[view]).reshape(BATCH, COUNT, SIZE)
            for view in VIEWS
        }
        own, other = ("first", "second") if queried == "first" else ("second", "first")
        expressed = _attend(params["matcher"], tokens[own], tokens[other])
        return nce(_flat(expressed), _flat(tokens[own]))

    value = _optimised(loss, params)
    if queried == "second":
        assert value < 0.3
    else:
        assert value > FLOOR - 1e-4
