import dataclasses

import pytest

from emjax.errors import InputError
from emjax.segmentation.methods import METHODS
from emjax.segmentation.methods.agglomerate import AgglomerateSettings
from emjax.segmentation.methods.mutex import MutexSettings
from emjax.segmentation.methods.seeded_watershed import ContourSettings
from emjax.segmentation.settings import (
    format_settings,
    parse_settings,
    read_settings,
    values_to_try,
)


def _read(kind, **given):
    return read_settings(kind, "m", given)


def test_text_and_numbers_mean_the_same():
    given = {"threshold": 0.25, "plane": False, "min_size": 30, "linkage": "mean", "sigma_seeds": 2}
    settings = _read(AgglomerateSettings, **given)
    assert settings == _read(AgglomerateSettings, **parse_settings(format_settings(given)))
    assert (settings.threshold, settings.plane, settings.min_size) == (0.25, False, 30)
    assert settings.sigma_seeds == 2.0 and isinstance(settings.sigma_seeds, float)
    strides = _read(MutexSettings, strides="1/4/4")
    assert (
        strides
        == _read(MutexSettings, strides=[1, 4, 4])
        == _read(MutexSettings, strides=(1, 4, 4))
    )
    assert format_settings({"strides": (1, 4, 4), "plane": True}) == "strides=1/4/4&plane=true"


def test_text_of_settings():
    assert parse_settings("") == {}
    assert parse_settings(" threshold = 0.5 & plane=false") == {
        "threshold": "0.5",
        "plane": "false",
    }
    with pytest.raises(InputError, match="'threshold' is no NAME=VALUE"):
        parse_settings("plane=false&threshold")
    with pytest.raises(InputError, match="'plane' is given twice"):
        parse_settings("plane=false&plane=true")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (
            AgglomerateSettings,
            {"treshold": 1},
            "m: unknown setting 'treshold'; did you mean 'threshold'",
        ),
        (AgglomerateSettings, {"threshold": 1.5}, "m: threshold=1.5 must be between 0 and 1"),
        (AgglomerateSettings, {"threshold": float("nan")}, "threshold=nan must be between"),
        (AgglomerateSettings, {"threshold": "high"}, "threshold='high' must be a number"),
        (AgglomerateSettings, {"threshold": True}, "threshold=True must be a number"),
        (AgglomerateSettings, {"plane": "yes"}, "plane='yes' must be true or false"),
        (AgglomerateSettings, {"plane": 2}, "plane=2 must be true or false"),
        (AgglomerateSettings, {"linkage": "median"}, "linkage=median is unknown; use one of mean"),
        (AgglomerateSettings, {"min_size": 1.5}, "min_size=1.5 must be a whole number"),
        (AgglomerateSettings, {"min_size": -1}, "min_size=-1 must be 0 or more"),
        (ContourSettings, {"connectivity": 8}, "connectivity=8 is unknown; use one of 6, 18, 26"),
        (MutexSettings, {"strides": "4/4"}, "strides='4/4' must be 3 numbers"),
        (MutexSettings, {"strides": (1, 0, 1)}, "strides=0 must be 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(kind, given, message):
    with pytest.raises(InputError, match=message):
        _read(kind, **given)


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_is_documented_and_every_grid_value_allowed(name):
    kind = METHODS[name].settings
    documented = "".join(base.__doc__ or "" for base in kind.__mro__)
    for field in dataclasses.fields(kind):
        assert f"\n        {field.name}: " in documented
        read_settings(kind, name, {field.name: field.default})
    grid = values_to_try(kind)
    assert grid
    for setting, values in grid.items():
        assert len(set(values)) == len(values) > 1
        for value in values:
            read_settings(kind, name, {setting: value})
