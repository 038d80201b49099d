import itertools

import numpy as np
import pytest

from emjax.segmentation.contacts import UNIT
from emjax.segmentation.multicut import edge_costs, least_cost_of_small, multicut
from emjax.segmentation.region_graph import EdgeStatistics


def _statistics(edges, contact=1):
    """From {(u, v): (mean affinity, count)}."""
    pairs = np.array(sorted(edges), np.uint64).reshape(-1, 2)
    means, counts = (np.array([edges[p][i] for p in sorted(edges)]) for i in (0, 1))
    counts = counts.astype(np.int64)
    total = np.round(means * counts * UNIT).astype(np.int64)
    return EdgeStatistics(pairs, np.full(len(pairs), contact), total, counts, total)


def _energy(labels, pairs, costs):
    return sum(c for (u, v), c in zip(pairs.tolist(), costs, strict=True) if labels[u] != labels[v])


def _least(nodes, *graphs):
    """Least energy over all partitions whose clusters the first graph connects."""
    local = [set(pair) for pair in graphs[0][0].tolist()]
    best = np.inf
    for labels in itertools.product(range(nodes), repeat=nodes):
        if any(label > max(labels[:i], default=-1) + 1 for i, label in enumerate(labels)):
            continue
        for cluster in set(labels):
            members = {i for i in range(nodes) if labels[i] == cluster}
            reached, grown = {min(members)}, True
            while grown:
                more = {n for e in local if e <= members and e & reached for n in e} - reached
                grown = bool(more)
                reached |= more
            if reached != members:
                break
        else:
            best = min(best, sum(_energy(labels, *graph) for graph in graphs))
    return best


def test_costs_by_hand():
    statistics = _statistics(
        {(0, 1): (0.9, 10), (1, 2): (0.5, 5), (2, 3): (0.0, 5), (3, 4): (0, 0)}
    )
    costs = edge_costs(statistics, beta=0.5, weighted=False)
    np.testing.assert_allclose(costs, [np.log(9), 0, np.log(0.001 / 0.999), 0], atol=1e-5)
    weighted = edge_costs(statistics, beta=0.5)
    np.testing.assert_allclose(weighted, costs * [1, 0.5, 0.5, 0], atol=1e-9)
    # A boundary that is expected more makes every cut cheaper.
    shifted = edge_costs(statistics, beta=0.8, weighted=False)
    np.testing.assert_allclose(shifted[:3], costs[:3] + np.log(0.2 / 0.8), atol=1e-9)


def test_two_pairs_by_hand():
    ids = np.array([2, 4, 5, 9, 11], np.uint64)
    edges = {(2, 4): (0.9, 1), (5, 9): (0.9, 1), (4, 5): (0.1, 1), (2, 9): (0.45, 1)}
    assert multicut(ids, _statistics(edges)).tolist() == [2, 2, 5, 5, 11]
    assert multicut(ids, _statistics(edges), beta=0.05).tolist() == [2, 2, 2, 2, 11]
    assert multicut(ids, _statistics(edges), beta=0.95).tolist() == ids.tolist()
    assert multicut(ids, _statistics(edges, contact=0)).tolist() == ids.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_close_to_the_best_of_all_partitions(seed):
    rng = np.random.default_rng(seed)
    nodes = 6
    edges = {(i, i + 1): (rng.random(), 1) for i in range(nodes - 1)}
    edges |= {
        (i, j): (rng.random(), 1)
        for i in range(nodes)
        for j in range(i + 2, nodes)
        if rng.random() < 0.5
    }
    statistics = _statistics(edges)
    found = multicut(np.arange(nodes, dtype=np.uint64), statistics)
    costs = edge_costs(statistics, 0.5)
    energy = _energy(found.tolist(), statistics.pairs, costs)
    least = _least(nodes, (statistics.pairs, costs))
    assert least <= energy + 1e-6
    assert energy < least + 0.3 and energy <= 0


def _partitions(nodes):
    """All partitions, as labels that begin at 0 and rise by at most 1."""
    labels = [()]
    for _ in range(nodes):
        labels = [(*row, c) for row in labels for c in range(max(row, default=-1) + 2)]
    return np.array(labels)


@pytest.mark.parametrize("nodes", [4, 6, 8])
def test_small_graphs_are_partitioned_at_the_least_cost_of_all(nodes):
    every, gained = _partitions(nodes), 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        pairs = np.array([p for p in itertools.combinations(range(nodes), 2) if rng.random() < 0.6])
        costs = rng.normal(size=len(pairs))
        energies = (every[:, pairs[:, 0]] != every[:, pairs[:, 1]]) @ costs
        alone = least_cost_of_small(pairs, costs, np.arange(nodes))
        assert _energy(alone.tolist(), pairs, costs) == pytest.approx(energies.min())
        gained += energies.min() < costs.sum() - 1e-9
        # Begun with the best, it stays as it is.
        best = every[energies.argmin()]
        assert _energy(
            least_cost_of_small(pairs, costs, best).tolist(), pairs, costs
        ) == pytest.approx(energies.min())
    assert gained > 10


def test_large_parts_and_what_touches_nothing_stay():
    # A chain of 13 that should be one; it is too long to be searched.
    chain = np.stack([np.arange(12), np.arange(1, 13)], axis=1)
    apart = least_cost_of_small(chain, np.ones(12), np.arange(13))
    assert len(np.unique(apart)) == 13
    # A triangle and a chain of three, with nothing between: two clusters, not one.
    pairs = np.array([[0, 1], [1, 2], [0, 2], [3, 4], [4, 5]])
    found = least_cost_of_small(pairs, np.ones(5), np.arange(6))
    assert found.tolist() == [0, 0, 0, 1, 1, 1]
    # Nor are the ends of a path joined where its middle is better alone.
    path = least_cost_of_small(
        np.array([[0, 1], [1, 2], [2, 3]]), np.array([1.0, -2.0, 1.0]), np.arange(4)
    )
    assert path.tolist() == [0, 0, 1, 1]


def test_lifted_edges_part_what_they_do_not_touch():
    # A chain that holds weakly; its ends surely are apart.
    ids = np.arange(4, dtype=np.uint64)
    chain = _statistics({(0, 1): (0.8, 1), (1, 2): (0.6, 1), (2, 3): (0.8, 1)})
    apart = _statistics({(0, 3): (0.05, 1), (0, 2): (0.2, 1)}, contact=0)
    assert multicut(ids, chain).tolist() == [0, 0, 0, 0]
    assert multicut(ids, chain, lifted=apart).tolist() == [0, 0, 2, 2]
    # They cannot join what nothing touches.
    split = _statistics({(0, 1): (0.8, 1), (2, 3): (0.8, 1)})
    together = _statistics({(0, 3): (0.99, 1)}, contact=0)
    assert multicut(ids, split, lifted=together).tolist() == [0, 0, 2, 2]
    # Long-range affinities between what touches are no lifted edges.
    touching = _statistics({(1, 2): (0.01, 9)}, contact=1)
    assert multicut(ids, chain, lifted=touching).tolist() == [0, 0, 0, 0]
