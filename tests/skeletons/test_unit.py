"""Units of SWC: voxels count from the centre of the first one, lengths from its corner."""

from __future__ import annotations

import numpy as np
import pytest

from emjax.errors import InputError
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.unit import VOXELS, Unit

TREE = Skeleton(np.asarray([[2.0, 0, 7]]), np.asarray([-1]), np.asarray([3.0]), "t")


def test_voxels_and_lengths_by_hand():
    nm = VOXELS.in_nm(TREE, (40.0, 4.0, 5.0))
    assert nm.positions.tolist() == [[100, 2, 37.5]] and nm.radii.tolist() == [12]
    um = Unit.parse("um", "unit")
    assert um.from_voxels(TREE, (40.0, 4.0, 5.0)).positions.tolist() == [[0.1, 0.002, 0.0375]]


@pytest.mark.parametrize("name", ["nm", "um", "8", "voxel"])
def test_there_and_back(name):
    unit = Unit.parse(name, "unit")
    again = unit.in_voxels(unit.from_voxels(TREE, (40.0, 4.0, 5.0)), (40.0, 4.0, 5.0))
    np.testing.assert_allclose(again.positions, TREE.positions, atol=1e-12)
    np.testing.assert_allclose(again.radii, TREE.radii)


def test_lengths_need_a_voxel_size():
    with pytest.raises(InputError, match="skeleton t is in um, and no voxel size is known; add"):
        Unit.parse("um", "unit").in_voxels(TREE, None)
    with pytest.raises(InputError, match="skeleton t is in voxels, and their size is not known"):
        VOXELS.in_nm(TREE, None)
    for text in ("mm", "0", "-1", "nan"):
        with pytest.raises(InputError, match=f"^unit={text}: give 'voxel', 'nm', 'um'"):
            Unit.parse(text, "unit")
