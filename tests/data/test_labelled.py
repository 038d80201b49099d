"""Labels that teach something, and volumes without."""

from __future__ import annotations

import numpy as np
import pytest
from absl import logging

from emjax.data.labelled import check_labelled, find_objects
from emjax.errors import InputError


def _entries(write, noise, open_plain, labels: np.ndarray, keys: str = "", name: str = "l"):
    return open_plain(f"{write('a' + name, noise(*labels.shape))}|{write(name, labels)}{keys}")


def test_volumes_need_labels(write, noise, open_plain) -> None:
    entries = open_plain(write("a", noise(8, 16, 16)))
    with pytest.raises(InputError, match=r"data.volumes: .*a has no labels; write image\|labels"):
        check_labelled(entries, "data.volumes")
    check_labelled(
        _entries(write, noise, open_plain, np.ones((8, 16, 16), np.uint8)), "data.volumes"
    )


@pytest.mark.parametrize("place", [(0, 0, 0), (150, 20, 8), (199, 39, 15)])
def test_one_voxel_is_found_wherever_it_is(write, noise, open_plain, place) -> None:
    labels = np.zeros((200, 40, 16), np.uint64)
    labels[place] = 9
    find_objects(_entries(write, noise, open_plain, labels))


@pytest.mark.parametrize(
    ("value", "keys"),
    [(0, ""), (7, "?ignore=7"), (7, "?background=7"), (np.iinfo(np.uint64).max, "")],
)
def test_nothing_to_learn_from(write, noise, open_plain, value, keys) -> None:
    labels = np.full((8, 16, 16), value, np.uint64)
    with pytest.raises(
        InputError, match="no labelled voxel to train on in .*l: all are background"
    ):
        find_objects(_entries(write, noise, open_plain, labels, keys))


def test_one_empty_volume_of_two_is_only_said(write, noise, open_plain, monkeypatch) -> None:
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    full = _entries(write, noise, open_plain, np.ones((8, 16, 16), np.uint8), name="full")
    empty = _entries(write, noise, open_plain, np.zeros((8, 16, 16), np.uint8), name="empty")
    find_objects(full + empty)
    assert len(said) == 1 and "empty" in said[0]
