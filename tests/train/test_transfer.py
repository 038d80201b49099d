from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.runs.spec import RunSpec
from emjax.train.transfer import merge_params
from emjax.train.weights import Weights

from .toy import ToyTask, run_toy, same, toy_config


def _tree(encoder=(4, 4), head=(4, 1), **more):
    backbone = {"encoder": {"kernel": np.ones(encoder)}, "head": {"kernel": np.ones(head)}}
    return {"backbone": backbone} | more


def _weights(tree, job="pretrain"):
    return Weights(params=tree, spec=RunSpec(job=job, config={}), source="runs/old")


def test_backbone_moves_and_heads_stay():
    merged, table = merge_params(
        _tree(), _weights(_tree(matcher={"kernel": np.ones(2)})), "finetune"
    )
    assert merged["backbone"]["encoder"]["kernel"] is not None
    assert merged["backbone"]["head"]["kernel"] is None
    assert table.split("\n") == [
        "weights from runs/old",
        "  taken over: 16 parameters",
        f"    {'backbone/encoder/kernel':<34} {16:>12}",
        "  begins anew: 4 parameters",
        f"    {'backbone/head/kernel':<34} {4:>12}",
        "  left over there: 6 parameters",
        f"    {'backbone/head/kernel':<34} {4:>12}",
        f"    {'matcher/kernel':<34} {2:>12}",
    ]


def test_fixed_statistics_need_not_be_there():
    """A network that normalizes by them starts from one that does not, and the other way round."""
    fixed = _tree()
    fixed["backbone"]["encoder"]["running_mean"] = np.ones(4)
    merged, _ = merge_params(fixed, _weights(_tree()), "finetune")
    assert merged["backbone"]["encoder"]["kernel"] is not None
    assert merged["backbone"]["encoder"]["running_mean"] is None
    merged, _ = merge_params(_tree(), _weights(fixed), "finetune")
    assert merged["backbone"]["encoder"]["kernel"] is not None


def test_same_job_takes_heads_too():
    merged, _ = merge_params(_tree(), _weights(_tree()), "pretrain")
    assert merged["backbone"]["head"]["kernel"] is not None


def test_other_network_is_an_error_that_lists_paths():
    with pytest.raises(
        InputError,
        match=r": 0% of the backbone.*backbone/encoder/kernel \(4, 4\) \(there: \(8, 4\)\)",
    ):
        merge_params(_tree(), _weights(_tree(encoder=(8, 4))), "finetune")


def test_one_other_shape_is_an_error_however_small():
    """Of 10,001 parameters one has another shape: 99.99 % match, yet it is another network."""
    tree = _tree(encoder=(100, 100))
    tree["backbone"]["stem"] = {"bias": np.ones(1)}
    other = _tree(encoder=(100, 100))
    other["backbone"]["stem"] = {"bias": np.ones(2)}
    with pytest.raises(InputError, match=r"stem/bias \(1,\) \(there: \(2,\)\)"):
        merge_params(tree, _weights(other), "finetune")
    del other["backbone"]["stem"]
    merged, table = merge_params(tree, _weights(other), "finetune")
    assert merged["backbone"]["stem"]["bias"] is None
    assert "backbone/stem/bias" in table.split("begins anew")[1]


def test_run_starts_from_another(tmp_path):
    first = run_toy(toy_config(), tmp_path / "a")
    config = toy_config(init_from=str(tmp_path / "a"), num_steps=1)
    config.optimizer.learning_rate = 1e-20
    config.optimizer.final_learning_rate = 0.0
    second = run_toy(config, tmp_path / "b")
    assert same(first.params, second.params)
    other = toy_config(init_from=str(tmp_path / "a"), num_steps=1)
    with pytest.raises(InputError, match=": 0% of the backbone"):
        run_toy(other, tmp_path / "c", task=ToyTask(width=5))
