from __future__ import annotations

import dataclasses
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emjax.augment.views import to_window
from emjax.errors import InputError
from emjax.models.build import build_backbone
from emjax.models.matcher import TokenProjection
from emjax.parallel.compile import jit
from emjax.parallel.mesh import make_mesh
from emjax.tasks.pretrain import Pretrain
from emjax.tasks.pretrain_evaluation import (
    EvaluationSettings,
    PretrainEvaluation,
    check_settings,
    exclusion_radius,
)
from emjax.tasks.tokens import grid_positions

from .small import small_task, windows_for, without_degradation

CROPS = 4
SETTINGS = EvaluationSettings(
    level=0, queries=24, distractors=31, exclusion_radius=(1, 6, 6), own_orientation=False
)
MESH_SIZES = {"data": 1, "fsdp": 1, "spatial": 1}
CHANNELS = 48


@pytest.fixture
def task(monkeypatch) -> Pretrain:
    without_degradation(monkeypatch)
    return small_task(loss__contrastive=0.0, loss__cross=0.0)


def _evaluation(task: Pretrain, **changes: Any) -> PretrainEvaluation:
    return PretrainEvaluation(
        task,
        windows_for(task, CROPS),
        dataclasses.replace(SETTINGS, **changes),
        mesh=make_mesh(MESH_SIZES, jax.devices()[:1]),
        chunk=CROPS,
    )


def _replace_features(monkeypatch: pytest.MonkeyPatch, encode: Any) -> None:
    """Makes the pyramid out of where the tissue of each cell truly is, `encode([2 b, n, 3])`, first views first."""

    def features(self: Pretrain, params: Any, views: Any) -> dict[str, Any]:
        pyramid = []
        for stride in self.backbone.level_strides:
            grid = grid_positions(self.crop_size, stride)
            tissue = [jax.vmap(to_window, (0, None))(view, grid) for view in views]
            cells = tuple(a // b for a, b in zip(self.crop_size, stride, strict=True))
            first, second = jnp.split(encode(jnp.concatenate(tissue)), 2)
            code = jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])
            pyramid.append(code.reshape(code.shape[0], *cells, code.shape[-1]))
        rows = 2 * views.first.image.shape[0]
        return {"pyramid": tuple(pyramid), "output": jnp.zeros((rows, *self.crop_size, 1))}

    monkeypatch.setattr(Pretrain, "features", features)


def _true_tissue(tissue: jax.Array) -> jax.Array:
    """Slow waves of the place, other waves in each crop."""
    rng = np.random.default_rng(0)
    count = tissue.shape[0] // 2
    waves = rng.normal(size=(count, 3, CHANNELS)) / np.array([1.5, 8.0, 8.0]).reshape(3, 1)
    waves = jnp.asarray(np.concatenate([waves, waves]), jnp.float32)
    phases = jnp.asarray(np.tile(rng.uniform(0, 6.28, (count, 1, CHANNELS)), (2, 1, 1)))
    return jnp.sin(jnp.einsum("bnk,bkc->bnc", tissue, waves) + phases)


def _chance(tissue: jax.Array) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (*tissue.shape[:2], CHANNELS))


def test_an_oracle_finds_everything_and_chance_nothing(task, monkeypatch):
    _replace_features(monkeypatch, _true_tissue)
    oracle = _evaluation(task)
    found = oracle({})
    assert not oracle.uses_tokens
    assert found["retrieval_top1"] == found["retrieval_top1_features"] > 0.9
    _replace_features(monkeypatch, _chance)
    blind = _evaluation(task)
    guessed = blind({})
    chance = blind.baselines()["retrieval_top1_chance"]
    assert chance == 1 / 32
    # About a hundred queries: a few standard deviations around 1 / 32.
    assert guessed["retrieval_top1"] < chance + 0.1
    name = "matching_error_cosine_voxels"
    assert found[name] < 0.5 * guessed[name]
    # No matcher was trained.
    assert "matching_error_voxels" not in found
    # Noise fills its channels, tissue does not.
    assert found["effective_rank"] < guessed["effective_rank"] <= CHANNELS
    # An output of 0 is grey 0.5 everywhere.
    error = np.mean((oracle.views.second.target - 0.5) ** 2)
    np.testing.assert_allclose(found["psnr_db"], -10 * np.log10(error), rtol=0.05)


def test_views_that_lie_alike_let_the_position_alone_find_tissue(task):
    """The cuts lie at most 4 voxels apart, so that a place is found again near itself, unless views are turned."""
    alike = _evaluation(task).baselines()
    turned = _evaluation(task, own_orientation=True).baselines()
    assert alike["matching_error_voxels_same_place"] <= np.sqrt(1 + 4**2 + 4**2)
    assert turned["matching_error_voxels_same_place"] > 10
    name = "matching_error_cosine_voxels_position"
    assert alike[name] < 0.7 * turned[name]
    assert alike["retrieval_top1_position"] > 2 * turned["retrieval_top1_position"]


def test_trained_tokens_are_judged_where_there_are_some(task, monkeypatch):
    _replace_features(monkeypatch, _true_tissue)
    settings = dataclasses.replace(task.settings, contrastive=1.0)
    task = dataclasses.replace(task, settings=settings, projection=TokenProjection(size=0))
    evaluation = _evaluation(task)
    assert evaluation.uses_tokens
    assert evaluation({"projection": {}})["retrieval_top1"] > 0.9


def test_the_pairs_are_fixed(task):
    one, other = _evaluation(task), _evaluation(task)
    for a, b in (
        (one.views, other.views),
        (one._pairs, other._pairs),
        (one._candidates, other._candidates),
        (one._distractors, other._distractors),
    ):
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert one.baselines() == other.baselines()


def test_a_network_is_scored_and_shown(task):
    evaluation = _evaluation(task)
    params = jit(task.init)(jax.random.key(0))
    scores = evaluation(params)
    names = {"retrieval_top1", "matching_error_cosine_voxels", "psnr_db", "ssim", "effective_rank"}
    assert names <= set(scores)
    assert all(np.isfinite(value) for value in scores.values())
    assert scores == evaluation(params)
    crops = evaluation.show(params)
    assert 1 <= len(crops) <= CROPS
    for crop in crops:
        assert crop["first"].shape == crop["restored"].shape == (32, 32)
        assert np.all(crop["twin"] >= 0) and np.all(crop["twin"] <= (3, 31, 31))
        assert np.all(np.isfinite(crop["similarity"]))


def test_too_many_distractors(task):
    with pytest.raises(InputError, match="raise eval.queries or eval.crops"):
        _evaluation(task, distractors=500)


def test_a_level_that_is_not_there():
    check_settings(SETTINGS, 1)
    with pytest.raises(InputError, match="eval.level=3: the network has levels 0"):
        check_settings(dataclasses.replace(SETTINGS, level=3), 3)


@pytest.mark.parametrize("radius", [(1, 2), (1, -2, 2), (1, 2, float("nan"))])
def test_an_exclusion_radius_that_is_none(radius):
    check_settings(dataclasses.replace(SETTINGS, exclusion_radius=()), 1)
    with pytest.raises(InputError, match="eval.exclusion_radius=.* needs three lengths"):
        check_settings(dataclasses.replace(SETTINGS, exclusion_radius=radius), 1)


def test_distractors_lie_beyond_the_receptive_field_unless_the_user_says_otherwise(caplog):
    task: Any = types.SimpleNamespace(backbone=build_backbone({"name": "unet", "widths": (4, 8)}))
    halo = task.backbone.footprint.halo
    assert halo == (6, 17, 17)
    open_settings = dataclasses.replace(SETTINGS, exclusion_radius=())
    assert exclusion_radius(task, open_settings) == (12, 34, 34)
    wide = dataclasses.replace(SETTINGS, exclusion_radius=(12, 34, 40))
    assert exclusion_radius(task, wide) == (12, 34, 40) and not caplog.records
    assert exclusion_radius(task, SETTINGS) == (1, 6, 6)
    assert "lies within the receptive field" in caplog.text
