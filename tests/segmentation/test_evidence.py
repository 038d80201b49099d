import numpy as np
import pytest

from emjax.segmentation.evidence import (
    far,
    joined_by_affinity,
    near,
    near_and_far,
    neighbours,
    reach,
    touching,
)
from emjax.segmentation.methods.components import components
from emjax.segmentation.prediction import NEAREST, Prediction


def _gather(evidence, prediction, fragments, own=None):
    (table,) = evidence.values()
    return table.gather(prediction, fragments, own)


@pytest.mark.parametrize(("connectivity", "count"), [(6, 3), (18, 9), (26, 13)])
def test_half_of_the_neighbours(connectivity, count):
    steps = neighbours(connectivity)
    opposite = {tuple(-s for s in step) for step in steps}
    assert len(steps) == count and not opposite & set(steps)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_touching_pairs_of_parts_make_the_components_of_the_whole(connectivity):
    mask = np.random.default_rng(1).random((6, 9, 11)) < 0.25
    whole = components(mask, connectivity)
    parts, last = np.zeros(mask.shape, np.uint64), 0
    halves = [np.s_[:3], np.s_[3:]]
    for z in halves:
        part = components(np.ascontiguousarray(mask[z]), connectivity)
        parts[z] = np.where(part > 0, part + np.uint64(last), 0)
        last = int(parts.max())
    pairs = set()
    for z in halves:
        found = _gather(touching(connectivity), None, parts, (z, np.s_[:], np.s_[:]))
        pairs |= {tuple(pair) for pair in found.pairs.tolist()}
    owner = {int(p): int(w) for p, w in zip(parts.ravel(), whole.ravel(), strict=True)}
    assert all(owner[a] == owner[b] for a, b in pairs)
    assert len(set(owner)) - 1 - len(np.unique(whole)) + 1 <= len(pairs)
    # Nothing within a part touches.
    assert all((a > parts[:3].max()) != (b > parts[:3].max()) for a, b in pairs)


def test_joined_by_affinities_above_a_threshold():
    fragments = np.array([[[1, 1, 2, 3, 0]]], np.uint64)
    values = np.zeros((3, 1, 1, 5), np.float32)
    values[2, 0, 0] = [0.9, 0.9, 0.5, 0.6, 0.9]
    prediction = Prediction(values, ("affinity",) * 3, NEAREST)
    found = _gather(joined_by_affinity(0.5), prediction, fragments)
    assert found.pairs.tolist() == [[2, 3]]
    assert _gather(joined_by_affinity(0.4), prediction, fragments).pairs.tolist() == [
        [1, 2],
        [2, 3],
    ]


def test_what_counts_as_evidence(noisy, bricks):
    prediction = noisy(1)
    nearest, everything = (_gather(e, prediction, bricks) for e in (near(), near_and_far()))
    longer = _gather(far(), prediction, bricks)
    touching_pairs = nearest.count > 0
    assert touching_pairs.all() and nearest.histogram is None
    same = {tuple(p): i for i, p in enumerate(everything.pairs.tolist())}
    apart = {tuple(p): i for i, p in enumerate(longer.pairs.tolist())}
    for i, pair in enumerate(nearest.pairs.tolist()):
        total = nearest.total[i] + longer.total[apart[tuple(pair)]]
        assert everything.total[same[tuple(pair)]] == total
    assert _gather(near(histogram=True), prediction, bricks).histogram is not None


def test_contacts_alone_where_there_are_no_affinities(bricks):
    foreground = Prediction(np.ones((1, *bricks.shape), np.float32), ("foreground",), (None,))
    found = _gather(near(), foreground, bricks)
    assert found.contact.all() and not found.count.any()


def test_how_far_partners_are(noisy):
    offsets = noisy(1).offsets
    assert reach(near(), offsets) == (1, 1, 1)
    assert reach(near_and_far(), offsets) == (2, 5, 5) == reach({**near(), **far()}, offsets)
    assert reach(touching(26), (None,)) == (1, 1, 1) and reach({}, offsets) == (0, 0, 0)


def test_evidence_where_single_affinities_count_less_reads_one_voxel_more(noisy, bricks):
    offsets = noisy(1).offsets
    assert list(near(steady=True)) == ["near_steady"] and list(near()) == ["near"]
    assert reach(near(steady=True), offsets) == (2, 2, 2)
    assert reach({**near(), **near_and_far(steady=True)}, offsets) == (3, 6, 6)
    plain, steady = (_gather(near(steady=s), noisy(1), bricks) for s in (False, True))
    assert (steady.maximum <= plain.maximum).all() and steady.pairs.tolist() == plain.pairs.tolist()
