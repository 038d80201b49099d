"""What is right, split, merged and missed, on a line of voxels that can be counted."""

from __future__ import annotations

import numpy as np

from emjax.evaluation.contingency import Contingency
from emjax.pictures.agreement import (
    MERGED,
    MISSED,
    NOTHING,
    RIGHT,
    SPLIT,
    Agreement,
    draw_kinds,
)
from emjax.pictures.comparison import draw_comparison
from emjax.pictures.overlays import id_colours

# Object 1 is split in 10 and 11, object 2 is merged with object 3 in segment 12, and of object 4 nothing is found.
TRUE = np.asarray([[1, 1, 1, 1, 2, 2, 3, 3, 3, 4, 0, 0]])
FOUND = np.asarray([[10, 10, 10, 11, 12, 12, 12, 12, 12, 0, 12, 0]])
AGREEMENT = Agreement.of(Contingency.from_arrays(TRUE[None], FOUND[None]))


def test_kinds_by_hand():
    kinds = AGREEMENT.kinds(TRUE, FOUND)
    three, two = [RIGHT] * 3, [MERGED] * 2
    assert kinds.tolist() == [[*three, SPLIT, *two, *three, MISSED, NOTHING, NOTHING]]


def test_partners_have_one_colour_and_nobody_else_has_it():
    colours = AGREEMENT.colours(FOUND)
    assert (colours[FOUND == 10] == 1).all() and (colours[FOUND == 12] == 3).all()
    assert (colours[FOUND == 0] == 0).all() and not np.isin(colours[FOUND == 11], TRUE).any()
    assert np.array_equal(id_colours(colours[0, :1]), id_colours(TRUE[0, :1]))


def test_a_perfect_segmentation_is_right_everywhere():
    ids = np.arange(12)[None]
    agreement = Agreement.of(Contingency.from_arrays(ids[None], ids[None] * 7))
    assert (agreement.kinds(ids, ids * 7)[0, 1:] == RIGHT).all()
    assert np.array_equal(agreement.colours(ids * 7), ids)
    nothing = Agreement.of(Contingency.from_arrays(ids[None] * 0, ids[None]))
    assert (nothing.kinds(ids, ids * 0)[0, 1:] == MISSED).all()


def test_colours_of_kinds_differ():
    drawn = draw_kinds(None, np.arange(5)[None])
    assert len(np.unique(drawn[0], axis=0)) == 5
    assert np.allclose(draw_kinds(np.ones((1, 1)), np.zeros((1, 1), np.uint8)), 0.5)


def test_a_column_for_each_thing_to_compare():
    grey = np.full((4, 12), 0.5)
    true, found = TRUE.repeat(4, 0), FOUND.repeat(4, 0)
    alone = draw_comparison(None, None, [found], None, ["z 0"], None)
    whole = draw_comparison([grey], [true], [found], AGREEMENT, ["z 0"], 8.0)
    assert whole.shape[1] == 4 * alone.shape[1]
    # A mask that numbers its class differently is right all the same, a class is not.
    ones, twos = np.ones((4, 12), int), np.full((4, 12), 2)
    mask, classes = (
        draw_comparison(None, [ones], [twos], None, ["z 0"], None, classes=c) for c in (False, True)
    )
    assert not np.array_equal(mask, classes)
