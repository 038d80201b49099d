"""Labels of several kinds, and a mask of where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.data.heldout import hold_out
from emjax.data.label_arrays import IGNORE
from emjax.data.labelled import check_names
from emjax.data.source import Crops
from emjax.errors import InputError

SHAPE, WINDOW = (8, 16, 24), (4, 8, 8)


@pytest.fixture
def entries(write, noise, open_plain):
    """An image with two kinds of labels and a mask, and one that has only one kind."""
    image = noise(*SHAPE)
    known = np.broadcast_to(np.arange(SHAPE[2]) < 12, SHAPE).astype(np.uint8)
    one = "|".join(
        (
            write("a", image),
            f"neurons={write('n', image // 32)}",
            f"mito={write('m', (image > 200).astype(np.uint8) * 7)}?kind=labels",
            f"mask={write('k', known)}",
        )
    )
    other = f"{write('b', image)}|mito={write('o', image // 64)}?kind=labels"
    return open_plain(f"{one};{other}")


def test_each_kind_has_its_arrays_and_what_is_masked_is_unknown(entries) -> None:
    crops = Crops(entries, WINDOW, seed=0, label_names=("neurons", "mito"), keep_ids=True)
    seen = set()
    for index in range(12):
        example = crops.example(index)
        number = int(example["volume"])
        seen.add(number)
        assert {"labels.neurons", "classes.neurons", "labels.mito", "classes.mito"} <= set(example)
        image = example["image"].astype(int)
        columns = int(example["start"][2]) + np.arange(WINDOW[2])
        known = np.broadcast_to(columns < 12, WINDOW) if number == 0 else np.ones(WINDOW, bool)
        expected = np.where(image > 200, 7, 0) if number == 0 else image // 64
        np.testing.assert_array_equal(example["classes.mito"], np.where(known, expected, IGNORE))
        neurons = image // 32 if number == 0 else np.full(WINDOW, IGNORE)
        np.testing.assert_array_equal(example["classes.neurons"], np.where(known, neurons, IGNORE))
        assert (example["labels.neurons"][~known] == IGNORE).all()
    assert seen == {0, 1}


def test_held_out_parts_have_all_of_it(entries) -> None:
    training, held_out = hold_out(entries[:1], 0.4, (0, 0, 0), WINDOW, "x")
    (part,) = held_out
    assert part.mask is not None and part.mask.size == part.image.size
    assert {v.volume.size for v in part.all_labels.values()} == {part.image.size}
    example = Crops(held_out, WINDOW, seed=0, label_names=("mito",)).example(0)
    # The mask ends where the held-out part begins.
    assert (example["labels.mito"] == IGNORE).all()
    assert training[0].image.size[2] + part.image.size[2] == SHAPE[2]


def test_names_that_nothing_has_are_refused(entries) -> None:
    check_names(entries, ("neurons", "mito"), "data.volumes")
    with pytest.raises(InputError, match="of=nuclei.*has of=mito, of=neurons"):
        check_names(entries, ("nuclei",), "data.volumes")
    with pytest.raises(InputError, match="labels without a name.*give of=NAME"):
        check_names(entries, ("",), "data.volumes")
    with pytest.raises(InputError, match="b has none of the labels"):
        check_names(entries, ("neurons",), "data.volumes")
