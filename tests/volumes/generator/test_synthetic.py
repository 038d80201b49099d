"""The synthetic tissue: the same whatever crop it is read in, and made of whole neurites."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import ndimage

from emjax.errors import InputError
from emjax.volumes.generator import defects as synthetic_defects
from emjax.volumes.generator import noise as synthetic_noise
from emjax.volumes.generator import synthetic
from emjax.volumes.generator.synthetic import Neurites, open_synthetic

KINDS = ("", "neurons", "mitochondria", "clefts")


def test_hash_is_splitmix64():
    # The first output of splitmix64 seeded with 0, as its authors publish it.
    assert int(synthetic_noise.mix(np.uint64(0x9E3779B97F4A7C15))) == 0xE220A8397B1DCDAF


def test_noise_takes_the_hashed_value_on_lattice_points():
    key = synthetic_noise.key_of(3, 1)
    value = 2.0 * synthetic_noise.draw(key, -4, 0, 0) - 1.0
    assert synthetic_noise.noise_line(key, -4.0) == pytest.approx(value, abs=1e-12)
    sample = [synthetic_noise.noise(key, 0.37 * n, -1.3, 2.1 * n) for n in range(-99, 99)]
    assert -1.0 <= min(sample) < -0.2 and 0.2 < max(sample) <= 1.0


@pytest.mark.parametrize("labels", KINDS)
def test_a_crop_equals_the_same_part_of_a_larger_crop(labels):
    volume = Neurites(seed=5, labels=labels)
    # Section 41 of this seed and others nearby are damaged: see the defects below.
    large = volume.make((38, -30, 1000), (6, 80, 90))
    small = volume.make((40, 3, 1031), (2, 21, 33))
    np.testing.assert_array_equal(small, large[2:4, 33:54, 31:64])


def test_far_from_the_origin_crops_still_agree():
    volume = Neurites(seed=1)
    start = (100_000, 2_000_000, -3_000_000)
    large = volume.make(start, (3, 24, 24))
    assert large.std() > 5
    np.testing.assert_array_equal(
        volume.make((start[0] + 1, start[1] + 8, start[2]), (1, 8, 8)), large[1:2, 8:16, :8]
    )


def test_another_seed_is_other_tissue_and_another_voxel_size_the_same():
    first = Neurites(seed=0, labels="neurons", defects=False, voxel_nm=(10, 10, 10))
    other = Neurites(seed=1, labels="neurons", defects=False, voxel_nm=(10, 10, 10))
    fine = first.make((0, 0, 0), (9, 27, 27))
    assert (other.make((0, 0, 0), (9, 27, 27)) != fine).mean() > 0.9
    # Voxels three times as long have their centres at every third centre of the fine ones.
    coarse = Neurites(seed=0, labels="neurons", defects=False, voxel_nm=(10, 30, 30))
    np.testing.assert_array_equal(coarse.make((0, 0, 0), (9, 9, 9)), fine[:, 1::3, 1::3])


def test_labels_agree_with_the_image_and_with_each_other():
    size = (10, 160, 160)
    image, neurons, mitochondria, clefts = (
        Neurites(seed=2, labels=kind, voxel_nm=(30, 8, 8)).make((0, 0, 0), size) for kind in KINDS
    )
    assert image.dtype == np.uint8 and neurons.dtype == np.uint64
    assert 0.0 <= (neurons == 0).mean() < 0.08
    assert len(np.unique(neurons)) > 12
    inner = neurons == ndimage.grey_erosion(neurons, (1, 5, 5))
    inner &= neurons == ndimage.grey_dilation(neurons, (1, 5, 5))
    # Membranes are dark, and so are mitochondria; each lies in one neurite.
    plain = inner & (mitochondria == 0)
    assert image[~inner].mean() < image[plain].mean() - 20
    assert (mitochondria > 0).any() and image[mitochondria > 0].mean() < image[plain].mean() - 20
    for index in np.unique(mitochondria[mitochondria > 0]):
        assert len(np.unique(neurons[mitochondria == index])) == 1
        assert (index >> np.uint64(20)) == neurons[mitochondria == index][0]
    if (clefts > 0).any():
        assert not inner[clefts > 0].all()


def test_most_neurites_are_in_one_piece():
    neurons = Neurites(seed=4, labels="neurons", defects=False, voxel_nm=(16, 16, 16)).make(
        (0, 0, 0), (64, 64, 64)
    )
    whole = 0.0
    ids = np.unique(neurons[neurons > 0])
    for index in ids:
        pieces, count = ndimage.label(neurons == index, np.ones((3, 3, 3)))
        # A neurite may leave the crop and come back; the pieces inside must touch its faces.
        touching = np.zeros(count + 1, bool)
        for axis in range(3):
            for face in (0, -1):
                touching[np.unique(np.take(pieces, face, axis))] = True
        inside = np.setdiff1d(np.arange(1, count + 1), np.flatnonzero(touching))
        voxels = np.bincount(pieces.ravel(), minlength=count + 1)
        lost = (
            voxels[inside].sum()
            if count > len(inside)
            else voxels[inside].sum() - max(voxels[inside])
        )
        whole += voxels[1:].sum() - lost
    assert whole / (neurons > 0).sum() > 0.995


def test_damage_comes_at_its_rate_and_only_to_serial_sections():
    plans = [synthetic_defects.plan_section(0, index, 40.0, True) for index in range(4000)]
    share = np.mean([plan.damaged != "" for plan in plans])
    assert 0.05 < share < 0.10
    assert {plan.damaged for plan in plans} == {"", "missing", "repeated", "fold", "slip", "blur"}
    assert not any(
        synthetic_defects.plan_section(0, index, 40.0, False).damaged for index in range(200)
    )
    assert not any(
        synthetic_defects.plan_section(0, index, 8.0, True).damaged for index in range(200)
    )


@pytest.mark.parametrize("damage", ["missing", "repeated", "fold", "slip", "blur"])
def test_damaged_sections_can_be_read_and_do_not_depend_on_the_crop(damage):
    plans = (synthetic_defects.plan_section(0, index, 40.0, True) for index in range(1000))
    index = next(plan.index for plan in plans if plan.damaged == damage)
    damaged, sound = Neurites(), Neurites(defects=False)
    crop = damaged.make((index, 0, 0), (1, 48, 40))
    larger = damaged.make((index - 1, -9, 0), (3, 57, 64))
    np.testing.assert_array_equal(crop, larger[1:2, 9:, :40])
    changed = (crop != sound.make((index, 0, 0), (1, 48, 40))).mean()
    assert changed > (0.0 if damage == "fold" else 0.5)
    if damage == "missing":
        assert crop.max() < 12


def test_store_reads_pickles_and_tells_its_voxel_size():
    store, voxel_nm = open_synthetic("neurites", {"shape": "4,40,50", "seed": "3"})
    assert store.shape == (4, 40, 50) and store.dtype.numpy_dtype == np.uint8
    assert voxel_nm == (40.0, 8.0, 8.0)
    crop = store[1:3, 10:20, 5:50].read().result()
    np.testing.assert_array_equal(crop, Neurites(seed=3).make((1, 10, 5), (2, 10, 45)))
    reader = pickle.loads(pickle.dumps(synthetic._Reader(Neurites(seed=3))))
    assert reader.volume == Neurites(seed=3)
    labels, _ = open_synthetic("neurites", {"shape": "4,40,50", "labels": "neurons"})
    assert labels.dtype.numpy_dtype == np.uint64


@pytest.mark.parametrize(
    ("shape", "voxel_nm", "chunk"),
    [
        # 3072 nm: two parts of 1600 at most; 256 voxels in parts of 133 would leave 123.
        ("32,256,256", "40,12,12", (32, 128, 128)),
        # Of 401 voxels, 200 fit into a part: three of them, not two and one of a single voxel.
        ("33,401,40", "40,8,8", (17, 134, 40)),
    ],
)
def test_pieces_that_are_made_at_once_are_of_equal_size(shape, voxel_nm, chunk):
    store, _ = open_synthetic("neurites", {"shape": shape, "voxel_nm": voxel_nm})
    assert store.chunk_layout.read_chunk.shape == chunk


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("glia", {}, "only synthetic://neurites"),
        ("neurites", {"sed": "1"}, "did you mean seed"),
        ("neurites", {"shape": "4,4"}, "three positive numbers"),
        ("neurites", {"voxel_nm": "40,0,8"}, "three positive numbers"),
        ("neurites", {"labels": "axons"}, "mitochondria"),
        ("neurites", {"seed": "x"}, "integer"),
        ("neurites", {"defects": "yes"}, "0 or 1"),
    ],
)
def test_mistakes_are_told_in_one_line(name, keys, said):
    with pytest.raises(InputError, match=said) as error:
        open_synthetic(name, keys)
    assert "\n" not in str(error.value)
