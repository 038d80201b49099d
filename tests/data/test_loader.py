"""Global batches: the same for any number of processes, threads and restarts."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from emjax.data.loader import Batches
from emjax.data.source import Crops
from emjax.errors import InputError


@pytest.fixture
def crops(write, noise, open_plain) -> Crops:
    """Labelled crops of two volumes."""
    text = []
    for number in range(2):
        image = noise(8, 24, 24, seed=number)
        text.append(f"{write(f'a{number}', image)}|{write(f'l{number}', image // 32)}")
    return Crops(open_plain(";".join(text)), (4, 8, 8), seed=5)


def _take(batches: Batches, count: int) -> list[dict[str, np.ndarray]]:
    taken = [next(batches) for _ in range(count)]
    batches.close()
    return taken


def _assert_equal(one: list[dict], other: list[dict]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_batches_by_hand(crops) -> None:
    taken = _take(Batches(crops, 4), 3)
    for number, batch in enumerate(taken):
        np.testing.assert_array_equal(batch["index"], np.arange(4) + 4 * number)
        assert {n: (v.shape, v.dtype.name) for n, v in batch.items()} == {
            "image": ((4, 4, 8, 8), "uint8"),
            "labels": ((4, 4, 8, 8), "int32"),
            "index": ((4,), "int32"),
            "volume": ((4,), "int32"),
            "start": ((4, 3), "int32"),
            "voxel_nm": ((4, 3), "float32"),
        }
    _assert_equal(taken, [crops.stack(range(4 * k, 4 * k + 4)) for k in range(3)])


@pytest.mark.parametrize("process_count", [2, 4])
def test_any_number_of_processes_reads_the_same_batches(crops, process_count) -> None:
    whole = _take(Batches(crops, 4), 3)
    parts = [
        _take(Batches(crops, 4, process_index=p, process_count=process_count), 3)
        for p in range(process_count)
    ]
    joined = [
        {name: np.concatenate([part[k][name] for part in parts]) for name in whole[k]}
        for k in range(3)
    ]
    _assert_equal(joined, whole)


@pytest.mark.parametrize(("num_threads", "prefetch_batches"), [(1, 1), (8, 4)])
def test_threads_do_not_matter(crops, num_threads, prefetch_batches) -> None:
    other = Batches(crops, 4, num_threads=num_threads, prefetch_batches=prefetch_batches)
    _assert_equal(_take(other, 4), _take(Batches(crops, 4), 4))


@pytest.mark.parametrize("batch_size", [8, 11, 18])
def test_batches_that_several_threads_put_together(crops, batch_size) -> None:
    # One part of 8 rows, eleven of 1, three of 6.
    taken = _take(Batches(crops, batch_size, num_threads=3), 3)
    expected = [crops.stack(range(batch_size * k, batch_size * (k + 1))) for k in range(3)]
    _assert_equal(taken, expected)
    alone = [crops.example(i) for i in range(batch_size)]
    joined = {name: np.stack([example[name] for example in alone]) for name in alone[0]}
    _assert_equal(taken[:1], [joined])


def test_set_state_resumes_exactly(crops) -> None:
    straight = _take(Batches(crops, 4), 5)
    first = Batches(crops, 4)
    head = [next(first) for _ in range(2)]
    # As a checkpoint holds it; what was read ahead does not count.
    state = json.loads(json.dumps(first.get_state()))
    assert state == {"next_batch": 2}
    next(first)
    first.close()
    second = Batches(crops, 4)
    next(second)
    second.set_state(state)
    _assert_equal(head + _take(second, 3), straight)


def test_what_is_read_ahead_is_known(crops) -> None:
    batches = Batches(crops, 4, num_threads=2, prefetch_batches=3)
    assert batches.queued() == 0
    for _ in range(2):
        next(batches)
        deadline = time.monotonic() + 20
        while batches.queued() < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        # The buffer is full, and never more than that is read.
        assert 3 <= batches.queued() <= 3.5
    batches.set_state({"next_batch": 7})
    next(batches)
    assert 0 <= batches.queued() <= 3.5
    batches.close()


def test_a_batch_that_cannot_be_shared(crops) -> None:
    with pytest.raises(InputError, match="batch_size=6 is not divisible by 4 processes; use 8"):
        Batches(crops, 6, process_count=4)
