"""Public volumes that contain each other."""

from __future__ import annotations

import pytest

from emjax.data.overlaps import OVERLAPS, known_overlaps


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("gs://neuroglancer-fafb-data/fafb_v14/fafb_v14_orig", "CREMI"),
        ("/data/Kasthuri15.h5:raw[0:100]", "AC3"),
        ("MitoEM-R/*.png", "MitoEM"),
        ("mito_em.zarr", "MitoEM"),
    ],
)
def test_known_overlaps_by_hand(address: str, named: str) -> None:
    (note,) = known_overlaps(address)
    assert named in note
    assert "data.exclude" in note


def test_others_are_not_suspected() -> None:
    for address in ("fib25.h5:raw", "synthetic://neurites", "/data/mitochondria.zarr"):
        assert known_overlaps(address) == []


def test_each_source_is_listed_once_and_finds_itself() -> None:
    assert len({o.source for o in OVERLAPS}) == len(OVERLAPS)
    for overlap in OVERLAPS:
        assert overlap.benchmarks in known_overlaps(f"/x/{overlap.source}.zarr")[0]
