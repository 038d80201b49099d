from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from emjax.errors import InputError
from emjax.parallel.mesh import batch_sharding, check_batch_size, make_mesh, replicated


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ((-1, 1, 1), (8, 1, 1)),
        ((2, -1, 2), (2, 2, 2)),
        ((1, 1, -1), (1, 1, 8)),
        ((2, 4, 1), (2, 4, 1)),
    ],
)
def test_shape(sizes, shape):
    mesh = make_mesh(dict(zip(("data", "fsdp", "spatial"), sizes, strict=True)))
    assert tuple(mesh.shape.values()) == shape
    assert mesh.axis_types == (AxisType.Auto,) * 3


def test_part_of_the_devices():
    mesh = make_mesh({"data": 2, "fsdp": 1, "spatial": 1})
    assert mesh.size == 2
    assert make_mesh({"data": -1, "fsdp": 1, "spatial": 1}, jax.devices()[:3]).size == 3


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((-1, -1, 1), "only one may be -1"),
        ((0, 1, 1), "1 or more"),
        ((-1, 3, 1), "needs 3 devices or a multiple of that, there are 8; make an axis smaller"),
        ((4, 4, 1), "needs 16 devices, there are 8"),
        ((1, 1, 16), "there are 8; make an axis smaller, as --config.mesh.spatial=1"),
    ],
)
def test_wrong_sizes(sizes, message):
    with pytest.raises(InputError, match=message):
        make_mesh(dict(zip(("data", "fsdp", "spatial"), sizes, strict=True)))


def test_batch_rows_are_split_and_copied_along_y():
    mesh = make_mesh({"data": 2, "fsdp": 2, "spatial": 2})
    batch = np.arange(8.0)[:, None]
    placed = jax.device_put(batch, batch_sharding(mesh))
    assert {s.data.shape for s in placed.addressable_shards} == {(2, 1)}
    assert replicated(mesh).is_fully_replicated


def test_batch_size():
    mesh = make_mesh({"data": 4, "fsdp": 2, "spatial": 1})
    check_batch_size(32, mesh)
    with pytest.raises(InputError, match="data.batch_size=30 is not divisible by 8.*use 24 or 32"):
        check_batch_size(30, mesh)
    with pytest.raises(InputError, match="use 8"):
        check_batch_size(4, mesh)
