import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.segmentation.methods.components import components


@pytest.mark.parametrize("connectivity", [6, 26])
def test_components_equal_scipy(connectivity):
    mask = np.random.default_rng(1).random((6, 9, 10)) > 0.7
    structure = ndimage.generate_binary_structure(3, 1 if connectivity == 6 else 3)
    truth, count = ndimage.label(mask, structure)
    found = components(mask, connectivity)
    assert found.dtype == np.uint64 and found.max() == count > 2
    assert len(np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1).T) == count + 1


def test_other_connectivities_are_refused():
    with pytest.raises(InputError, match="connectivity=8 is unknown; use 6 or 18 or 26"):
        components(np.ones((1, 2, 2), bool), 8)
