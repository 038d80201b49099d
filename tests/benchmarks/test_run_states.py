from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from emjax.runs.spec import RunSpec
from emjax.train.checkpoint import Checkpoints
from emjax.train.state import TrainState

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run_states(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import run_states

    return run_states


def _save(folder: Path, value: float, steps: tuple[int, ...]) -> None:
    params = {"kernel": jnp.array([3.0, value]), "bias": jnp.zeros(1)}
    checkpoints = Checkpoints(epath.Path(folder), keep=3, ema=False)
    for step in steps:
        state = TrainState(
            step=jnp.asarray(step, jnp.int32),
            params=params,
            opt_state=optax.adam(1e-3).init(params),
            ema=None,
            rng=jax.random.key(0),
            bad_steps=jnp.zeros((), jnp.int32),
        )
        checkpoints.save(step, state, {"next_batch": step}, RunSpec(job="toy", config={}))
    checkpoints.close()


def test_the_last_checkpoint_is_read_whole(run_states, tmp_path):
    _save(tmp_path / "a", 4.0, (2, 4))
    _save(tmp_path / "b", 4.5, (4,))
    assert run_states.checkpoint_steps(tmp_path / "a") == [2, 4]
    a, b = (run_states.read_state(tmp_path / name) for name in "ab")
    assert a["train/step"] == 4 and a["data"] == 4 and a["train/rng"].shape == (2,)
    np.testing.assert_array_equal(a["params/kernel"], [3, 4])
    moments = [name for name in a if name.startswith("train/opt_state") and "kernel" in name]
    assert len(moments) == 2
    assert run_states.same(a, a) and not run_states.same(a, b)
    # 0.5 of a vector (3, 4).
    assert run_states.distance(a, b) == pytest.approx(0.1)


def test_a_state_that_lacks_an_array_is_another(run_states):
    a = {"params/x": np.ones(2), "train/step": np.array(3)}
    assert not run_states.same(a, {"params/x": np.ones(2)})


def test_losses_of_a_record_that_was_cut_off(run_states, tmp_path):
    assert run_states.read_losses(tmp_path).size == 0
    text = (
        '{"step": 2, "losses": [1.5, null]}\n{"step": 2, "eval": {}}\n{"step": 3, "losses": [0.5]}'
    )
    (tmp_path / "metrics.jsonl").write_text(text)
    np.testing.assert_array_equal(run_states.read_losses(tmp_path), [1.5, np.nan])
