"""Limits of open files, before workers are started."""

from __future__ import annotations

import resource

import pytest

from emjax.blocks import dask_clusters
from emjax.errors import InputError


def test_workers_are_refused_where_too_few_files_may_be_open(monkeypatch) -> None:
    allowed = [(100, 200)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: allowed[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: allowed.append(pair))
    dask_clusters.allow_files(3)
    assert allowed == [(100, 200)]
    # 64 files and 12 for each worker.
    dask_clusters.allow_files(4)
    assert allowed[1:] == [(112, 200)]
    with pytest.raises(
        InputError, match="12 workers need 208 open files.*may have 200.*ulimit -n 208"
    ):
        dask_clusters.allow_files(12)
    allowed.append((100, resource.RLIM_INFINITY))
    dask_clusters.allow_files(12)
    assert allowed[-1] == (208, resource.RLIM_INFINITY)
