"""Fields of a network by their annotations."""

from __future__ import annotations

from typing import ClassVar

import flax.linen as nn
import pytest

from emjax.errors import InputError
from emjax.geometry.sizes import Size
from emjax.models.fields import Index, as_tuples, check_fields


class Net(nn.Module):
    width: int = 8
    block: Index = 0
    rate: float = 0.5
    residual: bool = True
    kind: str = "plain"
    note: str = ""
    patch: Size = (1, 2, 2)
    kernels: tuple[Size, ...] = ()
    taps: tuple[Index, ...] = ()
    widths: tuple[int, ...] = ()
    anything: object = None

    choices: ClassVar[dict[str, tuple[str, ...]]] = {"kind": ("plain", "fancy")}


def _check(**values: object) -> None:
    check_fields(Net, "net", values, Net.choices)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 1, "block": 0, "rate": 2, "residual": False, "kind": "fancy", "note": "as it is"},
        {"patch": (1, 1, 1), "kernels": ((1, 3, 3), (3, 3, 3)), "taps": (0, 3), "widths": (4,)},
        {"kernels": (), "taps": (), "widths": (), "anything": [1]},
    ],
)
def test_values_of_the_right_kind_pass(values):
    _check(**values)


@pytest.mark.parametrize(
    ("field", "value", "need"),
    [
        ("width", 0, "must be a positive whole number"),
        ("width", True, "must be a positive whole number"),
        ("width", 2.0, "must be a positive whole number"),
        ("block", -1, "must be a whole number, 0 or more"),
        ("rate", float("nan"), "must be a number"),
        ("residual", 1, "must be True or False"),
        ("kind", "fanzy", "'fanzy' is unknown; did you mean 'fancy'"),
        ("note", 3, "must be text"),
        ("patch", (2, 2), "must be a size"),
        ("kernels", ((1, 3, 0),), r"must be \(z, y, x\) sizes"),
        ("kernels", (1, 3, 3), r"must be \(z, y, x\) sizes"),
        ("taps", (-1,), "must be whole numbers, 0 or more"),
        ("widths", 4, "must be positive whole numbers"),
        ("widht", 4, "is no field of 'net'; did you mean 'width'"),
        ("parent", None, "is no field of 'net'"),
    ],
)
def test_values_of_another_kind_are_refused(field, value, need):
    with pytest.raises(InputError, match=rf"^model\.{field}.*{need}"):
        _check(**{field: value})


def test_lists_become_tuples_at_any_depth():
    assert as_tuples([[1, [2]], "ab"]) == ((1, (2,)), "ab")
