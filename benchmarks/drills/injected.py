"""The command of emjax with a fault that nothing outside of it can cause; started by the drills.

python benchmarks/drills/injected.py nan=40,41 --config ...      the loss of batches with these examples is NaN
python benchmarks/drills/injected.py memory=40 --config ...      the thread that reads this example is out of memory
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from emjax import main
from emjax.data.source import Crops, Example
from emjax.tasks.pretrain import Pretrain


def make_losses_nan(examples: Sequence[int]) -> None:
    """Makes loss and gradient NaN of every batch that holds one of the examples."""
    original = Pretrain.loss

    def loss(task: Pretrain, params: Any, batch: Any, key: Any) -> Any:
        value, metrics = original(task, params, batch, key)
        bad = jnp.isin(batch["index"], np.array(examples)).any()
        return value * jnp.where(bad, jnp.nan, 1.0), metrics

    Pretrain.loss = loss


def run_out_of_memory(examples: Sequence[int]) -> None:
    """Makes the loader's thread raise where it reads one of the examples."""
    original = Crops.example

    def example(crops: Crops, index: int) -> Example:
        if index in examples:
            raise MemoryError(f"injected: no memory for example {index}")
        return original(crops, index)

    Crops.example = example


FAULTS = {"nan": make_losses_nan, "memory": run_out_of_memory}

if __name__ == "__main__":
    kind, _, numbers = sys.argv[1].partition("=")
    FAULTS[kind]([int(number) for number in numbers.split(",")])
    sys.exit(main.main(sys.argv[2:]))
