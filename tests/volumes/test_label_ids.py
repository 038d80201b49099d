"""What ids mean: by hand for every type, and against a rule that looks at one id after the other."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.address import Address
from emjax.volumes.label_ids import UNLABELLED, LabelIds, is_one_of


def _kinds(meaning: LabelIds, ids: np.ndarray) -> list[str]:
    """u unknown, b background, o object; every id is one of them."""
    masks = {"u": meaning.unknown(ids), "b": meaning.in_background(ids), "o": meaning.objects(ids)}
    assert (np.sum(list(masks.values()), axis=0) == 1).all()
    return ["".join(kind for kind, mask in masks.items() if mask[i]) for i in range(len(ids))]


def test_by_hand():
    signed = np.asarray([-5, -1, 0, 3, 7])
    assert _kinds(LabelIds(), signed) == ["u", "u", "b", "o", "o"]
    assert _kinds(LabelIds((-1, 3)), signed) == ["u", "b", "b", "b", "o"]
    assert _kinds(LabelIds((-1, 3), (-1, 7, 2**70)), signed) == ["u", "u", "b", "b", "u"]
    # 0 is background also where other ids are; unless nothing is known of it.
    assert _kinds(LabelIds((7,), (0,)), signed) == ["u", "u", "u", "o", "b"]
    large = np.asarray([0, 1, UNLABELLED - 1, UNLABELLED], np.uint64)
    assert _kinds(LabelIds(), large) == ["b", "o", "o", "u"]
    assert _kinds(LabelIds((UNLABELLED,)), large) == ["b", "o", "o", "b"]
    assert _kinds(LabelIds((UNLABELLED,), (UNLABELLED,)), large) == ["b", "o", "o", "u"]


@pytest.mark.parametrize("dtype", [bool, "u1", "i1", "<i2", ">i2", "u4", "i8", ">u8"])
def test_any_type_agrees_with_one_id_after_the_other(dtype):
    rng = np.random.default_rng(0)
    ids = rng.integers(-4, 12, 200).astype(dtype)
    meaning = LabelIds((-2, 5, 2**63), (-3, 5, 9, 2**64 - 2))

    def kind(i: int) -> str:
        if i in meaning.ignore:
            return "u"
        if i == 0 or i in meaning.background:
            return "b"
        return "u" if i < 0 or i == UNLABELLED else "o"

    assert _kinds(meaning, ids) == [kind(int(i)) for i in ids.tolist()]


def test_ids_of_fields_and_addresses():
    address = Address.parse("a.h5:labels?background=7&ignore=249,0")
    assert LabelIds.of(address, (0, 7), (3,)) == LabelIds((0, 7), (3, 249, 0))
    assert LabelIds.of(Address.parse("a.h5")) == LabelIds()
    with pytest.raises(InputError, match=r"ignore_ids=\('a',\) must be whole numbers"):
        LabelIds.of(Address.parse("a.h5"), ignore=("a",))
    assert LabelIds((7, -1, 0), (3,)).no_objects == (3, 7, UNLABELLED)


def test_segments():
    found = np.asarray([0, 5, 7, UNLABELLED], np.uint64)
    assert LabelIds().segments(found).tolist() == [0, 5, 7, 0]
    assert LabelIds((7,)).segments(found).tolist() == [0, 5, 0, 0]
    plain = np.asarray([0, 5], np.uint8)
    assert LabelIds((2**20,)).segments(plain) is plain
    negative = np.asarray([-1, 0, 5], np.int32)
    assert LabelIds((-1,)).segments(negative).tolist() == [0, 0, 5]
    with pytest.raises(InputError, match=r"has the id -1; .* add \?background=-1"):
        LabelIds().segments(negative)


def test_ids_that_a_type_cannot_hold_are_nowhere():
    assert is_one_of(np.asarray([True, False]), (1, -1, 2**64)).tolist() == [True, False]
    assert is_one_of(np.zeros((0, 3), np.int8), (0,)).shape == (0, 3)
