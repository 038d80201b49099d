from __future__ import annotations

import pytest

from emjax.errors import InputError
from emjax.models.matcher import PAPER_HEADS
from emjax.tasks.build import build_pretrain

from .small import CROP_SIZE, VIT, small_config, small_task


def test_the_task_is_as_configured():
    task = small_task(loss__levels=(1,), augment__own_orientation=True)
    assert task.crop_size == CROP_SIZE and task.settings.levels == (1,)
    assert task.recipe.name == "ours" and task.recipe.own_orientation
    assert (task.projection.size, task.matcher.size, task.matcher.heads) == (16, 16, 2)
    assert small_task(model=VIT).backbone.level_channels


def test_the_released_recipe_takes_no_fields_of_ours():
    assert small_task(augment={"recipe": "released"}).recipe.name == "released"
    # Its own values may stand there, as a checkpoint remembers them.
    same = {"recipe": "released", "max_offset": (0, 0, 0), "own_orientation": False}
    assert small_task(augment=same).recipe.name == "released"
    with pytest.raises(
        InputError,
        match=r"'released' is fixed, augment.max_offset=\(1, 4, 4\) would have no effect",
    ):
        small_task(augment={"recipe": "released", "max_offset": (1, 4, 4)})


def test_the_paper_matcher_compares_the_maps_themselves():
    task = small_task(loss__tokens="channel", loss__matcher="paper")
    assert task.projection.size == 0
    assert (task.matcher.size, task.matcher.heads) == (0, PAPER_HEADS)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss__levels": (0, 9)}, r"loss.levels=\(0, 9\): give distinct levels out of 0"),
        ({"loss__levels": (-1,)}, "loss.levels"),
        ({"loss__levels": (0, 0)}, "distinct"),
        ({"loss__levels": ()}, "loss.levels"),
        (
            {"augment__own_orientation": True, "data__crop_size": (4, 32, 64)},
            "not square.*own_orientation=false",
        ),
        ({"loss__negatives": "globl"}, "loss.negatives='globl' is unknown.*global"),
        ({"loss__kind": "mze"}, "loss.kind='mze' is unknown.*mse"),
        ({"loss__tokens": "chanel"}, "loss.tokens='chanel' is unknown.*channel"),
        ({"loss__matcher": "papr"}, "loss.matcher='papr' is unknown.*paper"),
        ({"loss__balance": "gradients"}, "loss.balance='gradients' is unknown.*gradient"),
        ({"loss__form": "relased"}, "loss.form='relased' is unknown.*released"),
        ({"augment__recipe": "our"}, "ours"),
        ({"model__name": "unett"}, "unet"),
        ({"loss__size": 15}, "loss.size=15 must be a multiple of loss.heads=2"),
        ({"loss__matcher": "paper"}, "set loss.tokens=channel"),
        ({"loss__temperature": 0.0}, "loss.temperature=0.0"),
        ({"loss__cross": -1.0}, "loss.cross=-1.0 must not be negative"),
        ({"data__crop_size": (4, 30, 30)}, "30"),
    ],
)
def test_what_cannot_work_is_refused(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        small_task(**overrides)
    assert "\n" not in str(caught.value)


def test_the_configuration_is_not_changed():
    values = small_config()
    before = repr(values)
    build_pretrain(values)
    assert repr(values) == before
