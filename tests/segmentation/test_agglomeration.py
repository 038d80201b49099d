import numpy as np
import pytest

from emjax.errors import InputError
from emjax.segmentation import agglomeration as module
from emjax.segmentation.agglomeration import LINKAGES, agglomerate
from emjax.segmentation.clusters import joined
from emjax.segmentation.contacts import BINS, UNIT
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.region_graph import EdgeStatistics, edge_statistics


def _statistics(edges, histogram=None):
    """From {(u, v): affinities}."""
    pairs = sorted(edges)
    return EdgeStatistics(
        np.array(pairs, np.uint64).reshape(-1, 2),
        *(
            np.array([function(edges[pair]) for pair in pairs], np.int64)
            for function in (
                len,
                lambda values: round(sum(values) * UNIT),
                len,
                lambda values: round(max(values) * UNIT),
            )
        ),
        None
        if histogram is None
        else np.array(
            [
                (e, b, n)
                for e, pair in enumerate(pairs)
                for b, n in zip(
                    *np.unique(
                        np.minimum(np.array(edges[pair]) * BINS, BINS - 1).astype(int),
                        return_counts=True,
                    ),
                    strict=True,
                )
            ],
            np.int64,
        ),
    )


def _slow_mean(edges):
    """Affinities of the merges, by a search over all edges each time."""
    totals = {pair: (sum(values), len(values)) for pair, values in edges.items()}
    found = []
    while totals:
        pair = max(totals, key=lambda p: totals[p][0] / totals[p][1])
        total, count = totals.pop(pair)
        found.append(total / count)
        merged = {}
        for (u, v), (t, c) in totals.items():
            key = tuple(sorted(pair[0] if n == pair[1] else n for n in (u, v)))
            before = merged.get(key, (0.0, 0))
            merged[key] = (before[0] + t, before[1] + c)
        totals = merged
    return found


def _random_edges(seed, nodes=60, most=400):
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted(pair)) for pair in rng.integers(1, nodes, (most, 2)).tolist()}
    return {p: rng.random(rng.integers(1, 20)).tolist() for p in sorted(pairs) if p[0] != p[1]}


def test_means_by_hand():
    # 1 and 2 merge at 0.9; the new cluster's edge to 3 is the mean of 0.8 and 0.2, 0.2 = 0.4.
    tree = agglomerate(
        _statistics({(1, 2): [0.9], (1, 3): [0.8], (2, 3): [0.2, 0.2], (3, 4): [0.5]})
    )
    np.testing.assert_allclose(tree.affinity, [0.9, 0.5, 0.4], rtol=1e-6)
    ids = np.array([1, 2, 3, 4, 6], np.uint64)
    assert tree.cut(ids, 0.95).tolist() == [1, 2, 3, 4, 6]
    assert tree.cut(ids, 0.6).tolist() == [1, 1, 3, 4, 6]
    assert tree.cut(ids, 0.45).tolist() == [1, 1, 3, 3, 6]
    assert tree.cut(ids, 0.0).tolist() == [1, 1, 1, 1, 6]


def test_what_is_as_strong_as_the_threshold_stays_apart():
    edges = {(1, 2): [0.75], (2, 3): [0.5], (3, 4): [0.25]}
    ids = np.arange(1, 5, dtype=np.uint64)
    tree = agglomerate(_statistics(edges))
    assert tree.affinity.tolist() == [0.75, 0.5, 0.25]
    assert tree.cut(ids, 0.5).tolist() == [1, 1, 3, 4]
    assert tree.cut(ids, 0.25).tolist() == [1, 1, 1, 4]
    # Merging stops where the cut is.
    assert agglomerate(_statistics(edges), threshold=0.5).affinity.tolist() == [0.75]


def test_quantiles_by_hand():
    # Median: the element after half of them, as in waterz; the value is the centre of its bin.
    edges = {(1, 2): [0.9, 0.9], (1, 3): [0.1, 0.3, 0.7], (2, 3): [0.7, 0.8]}
    tree = agglomerate(_statistics(edges, histogram=True), linkage="quantile")
    # 0.9 is in bin 230; 0.1 0.3 0.7 0.7 0.8 have the median 0.7, in bin 179.
    assert (tree.affinity * BINS).tolist() == [230.5, 179.5]
    lowest = agglomerate(_statistics(edges, histogram=True), linkage="quantile", quantile=0)
    assert (lowest.affinity * BINS).tolist() == [230.5, 25.5]
    highest = agglomerate(_statistics(edges, histogram=True), linkage="quantile", quantile=100)
    assert (highest.affinity * BINS).tolist() == [230.5, 204.5]
    # Of the maxima 0.7 and 0.8 the second one counts.
    maxima = agglomerate(_statistics(edges), linkage="quantile_of_maxima")
    assert (maxima.affinity * BINS).tolist() == [230.5, 204.5]


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_search_over_all_edges(seed):
    edges = _random_edges(seed)
    np.testing.assert_allclose(
        agglomerate(_statistics(edges)).affinity, _slow_mean(edges), atol=1e-6
    )


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_stop_is_a_cut_of_the_whole_and_affinities_never_rise(linkage):
    statistics = _statistics(_random_edges(7), histogram=True)
    whole = agglomerate(statistics, linkage=linkage)
    assert (np.diff(whole.affinity) <= 0).all()
    middle = float(whole.affinity[len(whole.affinity) // 2])
    stopped = agglomerate(statistics, linkage=linkage, threshold=middle)
    above = whole.affinity > middle
    assert 0 < above.sum() < len(above)
    assert stopped.pairs.tolist() == whole.pairs[above].tolist()
    again = agglomerate(statistics, linkage=linkage)
    assert again.pairs.tobytes() == whole.pairs.tobytes()


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_graph_of_64_bit_numbers_is_merged_alike(linkage, monkeypatch):
    statistics = _statistics(_random_edges(3), histogram=True)
    few = agglomerate(statistics, linkage=linkage)
    monkeypatch.setattr(module, "_MANY", 0)
    many = agglomerate(statistics, linkage=linkage)
    assert len(few.pairs) > 20
    np.testing.assert_array_equal(few.pairs, many.pairs)
    np.testing.assert_array_equal(few.affinity, many.affinity)


def test_only_what_touches_and_has_an_affinity_merges():
    statistics = _statistics({(1, 2): [0.9], (2, 3): [0.9], (3, 4): [0.9]})
    statistics.contact[0] = 0
    statistics.count[1] = 0
    assert agglomerate(statistics).pairs.tolist() == [[3, 4]]


def test_joined_names_clusters_by_their_smallest_id():
    ids = np.array([2, 3, 5, 7, 11], np.uint64)
    pairs = np.array([[11, 3], [7, 11]], np.uint64)
    assert joined(ids, pairs).tolist() == [2, 3, 5, 3, 3]
    assert joined(ids, pairs[:0]).tolist() == ids.tolist()


def test_what_cannot_be_is_refused():
    statistics = _statistics({(1, 2): [0.9]})
    with pytest.raises(InputError, match="linkage='median' is unknown; use mean"):
        agglomerate(statistics, linkage="median")
    with pytest.raises(InputError, match="quantile=150"):
        agglomerate(statistics, linkage="quantile_of_maxima", quantile=150)
    with pytest.raises(InputError, match="needs histograms"):
        agglomerate(statistics, linkage="quantile")


@pytest.mark.parametrize(
    ("linkage", "scoring"),
    [
        ("mean", "MeanAffinity<RegionGraphType, ScoreValue>"),
        ("quantile", "HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>"),
        (
            "quantile_of_maxima",
            "HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, true>",
        ),
    ],
)
def test_waterz_finds_the_same_partition(linkage, scoring, voi, capfd):
    waterz = pytest.importorskip("waterz", reason="the peer waterz is not installed")
    rng = np.random.default_rng(3)
    small = np.arange(1, 41, dtype=np.uint64).reshape(2, 4, 5)
    fragments = small.repeat(3, 0).repeat(4, 1).repeat(4, 2)
    array = rng.beta(1.5, 1.5, (3, *fragments.shape)).astype(np.float32)
    # Edges that differ: those in the same bin are ties, which the two break in another way.
    array *= (
        rng.uniform(0.3, 1, small.shape).repeat(3, 0).repeat(4, 1).repeat(4, 2).astype(np.float32)
    )
    prediction = Prediction(array, ("affinity",) * 3, NEAREST)
    statistics = edge_statistics(fragments, prediction.affinities(), histogram=True)
    tree = agglomerate(statistics, linkage=linkage)
    ids = np.arange(int(fragments.max()) + 1, dtype=np.uint64)
    compared = 0
    for percent in (20, 40, 60, 80):
        # Halfway between two merges, and never inside of a tie.
        at = int(len(tree.affinity) * percent / 100)
        while tree.affinity[at] == tree.affinity[at - 1]:
            at += 1
        threshold = float(tree.affinity[at - 1] + tree.affinity[at]) / 2
        ours = tree.cut(ids, threshold)[fragments]
        (theirs,) = waterz.agglomerate(
            array,
            [1 - threshold],
            fragments=fragments.copy(),
            scoring_function=f"OneMinus<{scoring}>",
        )
        assert len(np.unique(ours)) == len(ids) - 1 - at
        compared += 1
        assert voi(ours, theirs) < 1e-9
    assert compared == 4
    capfd.readouterr()


def test_of_equal_edges_the_first_pair_merges_first():
    edges = {(i, i + 1): [0.5] for i in range(1, 30)}
    tree = agglomerate(_statistics(edges))
    assert tree.pairs[0].tolist() == [1, 2]
    assert len(tree.affinity) == 29 and set(tree.affinity.tolist()) == {0.5}
