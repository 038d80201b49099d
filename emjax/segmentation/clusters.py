"""Clusters of fragments, named by the smallest id in each, or numbered from 1."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def joined(ids: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Returns, for each id, the smallest id that the pairs connect it to.

    Args:
        ids: `[k]` uint64, sorted.
        pairs: `[n, 2]` uint64 pairs of these ids.

    Returns:
        `[k]` uint64.
    """
    a, b = np.searchsorted(ids, pairs.T)
    links = coo_array((np.ones(len(a), np.uint8), (a, b)), shape=(len(ids), len(ids)))
    _, component = connected_components(links, directed=False)
    smallest = np.full(component.max(initial=-1) + 1, len(ids), np.int64)
    np.minimum.at(smallest, component, np.arange(len(ids)))
    return ids[smallest[component]]


def smallest_ids(ids: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Returns, for each id, the smallest id of its cluster.

    Args:
        ids: `[k]` uint64, sorted.
        clusters: `[k]` numbers of any type, equal for ids of the same cluster.

    Returns:
        `[k]` uint64.
    """
    # The ids are sorted, so the first id of a cluster is its smallest.
    _, first, index = np.unique(clusters, return_index=True, return_inverse=True)
    return ids[first[index.reshape(-1)]]


def dense(clusters: np.ndarray) -> np.ndarray:
    """Renumbers clusters to 1..n, uint64, in the order of their first occurrence; 0 stays 0."""
    names, first, inverse = np.unique(clusters, return_index=True, return_inverse=True)
    order = np.argsort(np.where(names == 0, -1, first), kind="stable")
    number = np.empty(len(names), np.uint64)
    number[order] = np.arange(len(names)) + (0 if 0 in names[:1] else 1)
    return number[inverse]
