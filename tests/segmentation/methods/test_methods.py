import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.evaluation.contingency import Contingency
from emjax.evaluation.partition import adapted_rand
from emjax.segmentation import fragments as fragments_module
from emjax.segmentation.methods import METHODS, choose_method, decode, suit_to_voxels
from emjax.segmentation.methods.agglomerate import AgglomerateSettings
from emjax.segmentation.prediction import NEAREST, Prediction
from emjax.segmentation.settings import SizeSettings
from emjax.targets.language import TARGETS

from ...extending import write_package

ROOT = Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Bare(SizeSettings):
    above: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Foreign:
    above: float = 0.5


LONG = (*NEAREST, (-2, 0, 0), (0, -5, 0), (0, 0, -5))
OF_AFFINITIES = {
    "agglomerate": {},
    "mutex": {"strides": (2, 4, 4)},
    "multicut": {},
    "affinity_components": {},
}


def _cubes(dtype):
    """Two cubes apart in background; foreground, contour and distance of them."""
    stored = np.zeros((3, 12, 12, 24), np.float32)
    for start in (2, 14):
        cube = (slice(2, 10), slice(2, 10), slice(start, start + 8))
        inner = (slice(3, 9), slice(3, 9), slice(start + 1, start + 7))
        stored[0][cube] = stored[1][cube] = 1
        stored[1][inner] = 0
        stored[2][inner] = 0.8
    scale = 255 if dtype == np.uint8 else 1
    array = np.round(stored * scale).astype(dtype) if scale == 255 else stored.astype(dtype)
    return Prediction(array, ("foreground", "contour", "distance"), (None,) * 3)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize("method", OF_AFFINITIES)
def test_perfect_affinities_give_the_labels_back(perfect, bricks, voi, method, dtype):
    found = decode(perfect(bricks, LONG, dtype), method, OF_AFFINITIES[method])
    assert found.dtype == np.uint64 and found.shape == bricks.shape
    assert voi(bricks, found) == pytest.approx(0, abs=1e-12)
    assert np.unique(found).tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("method", OF_AFFINITIES)
def test_all_joined_is_one_object_and_none_joined_is_none(perfect, bricks, method):
    whole = perfect(np.ones_like(bricks), LONG)
    assert (decode(whole, method, OF_AFFINITIES[method]) == 1).all()
    nothing = perfect(np.zeros_like(bricks), LONG)
    assert not decode(nothing, method, OF_AFFINITIES[method]).any()


@pytest.mark.parametrize(
    ("method", "setting", "values"),
    [
        ("agglomerate", "threshold", (0.0, 0.3, 0.5, 0.7, 0.9)),
        ("multicut", "beta", (0.05, 0.3, 0.5, 0.7, 0.95)),
        ("affinity_components", "threshold", (0.0, 0.5, 0.7)),
    ],
)
def test_a_higher_threshold_makes_at_least_as_many_segments(noisy, method, setting, values):
    counts = [int(decode(noisy(2), method, {setting: v}).max()) for v in values]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.parametrize("method", ["contour", "distance", "components"])
def test_bytes_and_floats_of_two_cubes(method):
    found = [decode(_cubes(t), method) for t in (np.uint8, np.float32, np.float16)]
    assert np.unique(found[0]).tolist() == [0, 1, 2]
    assert ((found[0] > 0) == (_cubes(np.float32).array[0] > 0)).all()
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_low_probabilities_are_no_object():
    low = Prediction(
        np.full((3, 8, 8, 8), 5, np.uint8), ("foreground", "contour", "distance"), (None,) * 3
    )
    for method in ("distance", "contour", "components"):
        assert not decode(low, method, {"min_size": 0}).any()


def test_foreground_bounds_what_affinities_label(perfect, bricks):
    labels = np.where(bricks == 7, 0, bricks)
    joined = perfect(labels)
    # Without a foreground channel: voxels that nothing joins.
    found = decode(joined, "agglomerate", {"foreground_threshold": 0.5})
    assert ((found > 0) == (labels > 0)).all()
    assert decode(joined, "agglomerate")[labels == 0].any()
    # With one, as it says.
    channel = (labels == 5).astype(np.float32)[None]
    both = Prediction(
        np.concatenate([joined.array, channel]), (*joined.names, "foreground"), (*NEAREST, None)
    )
    found = decode(both, "agglomerate", {"foreground_threshold": 0.5})
    assert ((found > 0) == (labels == 5)).all()


def test_sizes_come_last(perfect, bricks):
    prediction = perfect(bricks)
    sizes = np.unique(bricks, return_counts=True)[1]
    limit = int(np.sort(sizes)[3])
    kept = decode(prediction, "affinity_components", {"min_size": limit})
    assert kept.max() == 4 and (kept == 0).sum() == np.sort(sizes)[:3].sum()
    small = decode(prediction, "affinity_components", {"max_size": limit - 1})
    assert small.max() == 3
    merged = decode(prediction, "affinity_components", {"min_size": limit, "small": "neighbour"})
    assert merged.all() and merged.max() == 4


@pytest.mark.parametrize("method", OF_AFFINITIES)
def test_same_bytes_again(noisy, method):
    given = OF_AFFINITIES[method]
    assert decode(noisy(4), method, given).tobytes() == decode(noisy(4), method, given).tobytes()


def test_a_grid_makes_fragments_once_and_changes_nothing(noisy, monkeypatch):
    prediction, made = noisy(4), []
    make = fragments_module.watershed
    monkeypatch.setattr(
        fragments_module, "watershed", lambda *a, **k: made.append(k) or make(*a, **k)
    )
    memo = {}
    grid = [
        ("agglomerate", {"threshold": 0.3}),
        ("agglomerate", {"threshold": 0.6}),
        ("agglomerate", {"threshold": 0.6, "linkage": "quantile"}),
        ("multicut", {"beta": 0.4}),
        ("agglomerate", {"threshold": 0.6, "linkage": "mean", "long_range": True}),
        ("multicut", {"beta": 0.4, "lifted": True}),
        ("multicut", {"beta": 0.4, "min_size": 50}),
    ]
    found = [decode(prediction, method, given, memo) for method, given in grid]
    # Once for each section.
    assert len(made) == prediction.shape[0]
    decode(prediction, "agglomerate", {"sigma_seeds": 2}, memo)
    assert len(made) == 2 * prediction.shape[0]
    for (method, given), segmentation in zip(grid, found, strict=True):
        assert decode(prediction, method, given).tobytes() == segmentation.tobytes()


def test_voxels_choose_the_plane():
    assert suit_to_voxels("agglomerate", {}, (50, 4, 4)) == {"plane": True}
    assert suit_to_voxels("agglomerate", {}, (10, 10, 10)) == {"plane": False}
    assert suit_to_voxels("agglomerate", {"plane": "true"}, (10, 10, 10)) == {"plane": "true"}
    assert suit_to_voxels("agglomerate", {}, None) == {}
    assert suit_to_voxels("mutex", {"threshold": 0.1}, (10, 10, 10)) == {"threshold": 0.1}


def test_a_signed_distance_says_the_same_as_a_distance():
    cubes = _cubes(np.float32)
    signed = Prediction(
        np.stack([cubes.array[0], (cubes.array[2] + 1) / 2]),
        ("foreground", "signed_distance"),
        (None, None),
    )
    assert decode(signed, "distance").tobytes() == decode(cubes, "distance").tobytes()
    assert decode(signed, "distance", {"seed_distance": 0.9}).max() == 0


def test_libraries_print_nothing(perfect, bricks, capfd):
    for method, given in OF_AFFINITIES.items():
        decode(perfect(bricks, LONG), method, given)
    assert capfd.readouterr() == ("", "")


def test_lifted_multicut(perfect, bricks, voi):
    given = OF_AFFINITIES["multicut"] | {"lifted": True}
    assert voi(bricks, decode(perfect(bricks, LONG), "multicut", given)) == pytest.approx(
        0, abs=1e-12
    )
    with pytest.raises(InputError, match="lifted=true needs long-range"):
        decode(perfect(bricks), "multicut", given)


def test_names_that_are_wrong_and_channels_that_are_missing(perfect, bricks):
    prediction = perfect(bricks)
    with pytest.raises(InputError, match="unknown method 'aglomerate'; did you mean 'agglomerate'"):
        decode(prediction, "aglomerate")
    with pytest.raises(
        InputError, match="agglomerate: unknown setting 'treshold'; did you mean 'thres"
    ):
        decode(prediction, "agglomerate", {"treshold": 0.5})
    with pytest.raises(
        InputError, match=r"'contour' needs 'foreground' and 'contour'; .*affinity\[-1,0,0\]"
    ):
        decode(prediction, "contour")
    with pytest.raises(
        InputError, match="methods that fit: agglomerate, multicut, affinity_components"
    ):
        decode(prediction, "mutex")
    with pytest.raises(InputError, match="0 channels 'foreground'.*has signed_distance"):
        decode(Prediction(bricks[None] * 0.0, ("signed_distance",), (None,)), "components")


@pytest.mark.parametrize(
    ("names", "method"),
    [
        (("affinity",) * 3, "agglomerate"),
        (("affinity",) * 3 + ("foreground", "contour"), "agglomerate"),
        (("foreground", "contour"), "contour"),
        (("foreground", "contour", "distance"), "distance"),
        (("foreground",), "components"),
        (("membrane",), "agglomerate"),
    ],
)
def test_the_channels_suggest_a_method(names, method):
    offsets = tuple(NEAREST[i] if name == "affinity" else None for i, name in enumerate(names))
    assert choose_method("", names, offsets) == method
    assert choose_method(method, names, offsets) == method


def test_channels_that_suit_nothing():
    with pytest.raises(
        InputError, match="no method is given; the channels are affinity.*no method fits"
    ):
        choose_method("", ("affinity",), ((-2, 0, 0),))
    assert set(METHODS) >= set(OF_AFFINITIES)


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("agglomerate", {"threshold": 0.2, "plane": False}),
        ("agglomerate", {"threshold": 0.2, "plane": False, "flood": "boundary"}),
        ("agglomerate", {"threshold": 0.2, "linkage": "mean"}),
        ("multicut", {"beta": 0.2, "plane": False}),
    ],
)
def test_boundary_of_a_real_volume(shared_data, voi, method, given):
    path = shared_data / "neurons" / "gala_fib_train.h5"
    if not path.exists():
        pytest.skip("gala_fib_train.h5 is not on this machine")
    with h5py.File(path) as file:
        labels, boundary = file["labels"][:24].astype(np.int64), file["p1"][:24]
    prediction = Prediction(boundary[None], ("membrane",), (None,))
    found = decode(prediction, method, given)
    one, each = np.ones_like(labels), np.arange(labels.size).reshape(labels.shape)
    assert voi(labels, found) < 0.6 * min(voi(labels, one), voi(labels, each))


def test_the_methods_of_the_documentation_are_those_of_the_table():
    page = (ROOT / "docs" / "segmentation.md").read_text()
    rows = [f"| `{n}` | {METHODS[n].needs} | {METHODS[n].summary} |" for n in METHODS.own_names]
    assert "\n".join(["| method | channels | how |", "|---|---|---|", *rows]) in page
    # The comment of the configuration names them in the order in which they are preferred.
    comment = (ROOT / "configs" / "segment.py").read_text()
    comment = comment[comment.index("else the first whose") : comment.index("c.method =")]
    places = [comment.index(f"'{name}'") for name in METHODS.own_names]
    assert places == sorted(places)


def test_methods_that_targets_name_are_there():
    named = {TARGETS[name].decoder for name in TARGETS.own_names}
    assert named - {""} == {
        *("agglomerate", "components", "contour", "distance", "energy", "flow", "polarity")
    }
    assert named - {""} <= set(METHODS.own_names)


def test_a_method_from_outside_is_chosen_only_where_none_of_ours_suits(tmp_path, monkeypatch):
    names, offsets = ("large_ids",), (None,)
    with pytest.raises(InputError, match="no method is given.*methods that fit: components"):
        choose_method("", names, offsets)
    with pytest.raises(InputError, match="name method 'sections', which no installed package has"):
        choose_method("", names, offsets, ("sections",))
    monkeypatch.syspath_prepend(str(write_package(tmp_path)))
    assert choose_method("", names, offsets) == "sections"
    assert choose_method("", names, offsets, ("sections",)) == "sections"
    assert choose_method("components", names, offsets, ("sections",)) == "components"
    both = ("large_ids", "foreground")
    assert choose_method("", both, (None, None), ("sections",)) == "components"
    with pytest.raises(
        InputError, match="method 'sections' needs 'large_ids'; the channels are fore"
    ):
        choose_method("sections", ("foreground",), (None,))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": _Bare}, r"_Bare\.above must be made by number or choice"),
        ({"settings": AgglomerateSettings, "stitched": True}, "derive from .*StitchSettings"),
        ({"settings": _Foreign}, "derive from emjax.segmentation.settings.SizeSettings"),
    ],
)
def test_a_method_that_cannot_be_fails_when_it_is_made(changed, message):
    with pytest.raises(TypeError, match=message):
        dataclasses.replace(METHODS["components"], **changed)


def _tissue(strands, shape=(16, 64, 64), objects=24):
    """Touching objects at voxels four times as thick as wide, with or without strands that are one voxel wide."""
    rng = np.random.default_rng(1)
    places = rng.random((objects, 3)) * shape
    voxels = np.stack(np.indices(shape), -1)
    far = ((((voxels[..., None, :] - places) * (4, 1, 1)) ** 2).sum(-1)).argmin(-1)
    labels = far.astype(np.uint64) + 1
    for i, x in enumerate(range(6, 60, 9) if strands else ()):
        labels[:, x : x + 6, x] = objects + 1 + i
    return labels


@pytest.mark.parametrize("method", ["agglomerate", "multicut"])
def test_defaults_are_right_for_crisp_wrong_and_blurred_affinities_of_sections(perfect, method):
    labels, without = _tissue(strands=True), _tissue(strands=False)
    crisp = perfect(labels).array
    wrong = np.where(np.random.default_rng(0).random(crisp.shape) < 0.001, 1 - crisp, crisp)
    # Blurred in the plane, as a network makes them of borders that were widened when it was trained: no strand remains.
    wide = ndimage.minimum_filter(perfect(without).array, (1, 1, 3, 3))
    blurred = ndimage.gaussian_filter(wide, (0, 0, 0.7, 0.7))
    settings = suit_to_voxels(method, {}, (40, 10, 10))
    assert settings == {"plane": True}
    errors = []
    for truth, array in ((labels, crisp), (labels, wrong.astype(np.float32)), (without, blurred)):
        found = decode(Prediction(array, ("affinity",) * 3, NEAREST), method, settings)
        errors.append(adapted_rand(Contingency.from_arrays(truth, found))["arand"])
    assert errors[0] < 0.002 and errors[1] < 0.02 and errors[2] < 0.03
