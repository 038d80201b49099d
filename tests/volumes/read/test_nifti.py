"""NIfTI as nibabel writes it, and with the affines of ITK."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from emjax.errors import InputError
from emjax.volumes.read import raw_array
from emjax.volumes.store import open_volume

from .material import VOXELS, check

_SIZES = np.diag([4e-6, 8e-6, 40e-6, 1])  # mm


def _write(path: Path, voxels=VOXELS.T, affine=_SIZES, unit="mm", kind=nib.Nifti1Image) -> Path:
    image = kind(voxels, affine, dtype=voxels.dtype)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i2", ">u2", "u4", "u8", "f4", "f8"])
def test_what_nibabel_writes(tmp_path: Path, name: str, kind: type, dtype: str) -> None:
    voxels = VOXELS.astype(dtype)
    check(_write(tmp_path / name, voxels.T, kind=kind), voxels)


def test_units(tmp_path: Path) -> None:
    micron = np.diag([4e-3, 8e-3, 40e-3, 1])
    check(_write(tmp_path / "a.nii", affine=micron, unit="micron"))
    check(_write(tmp_path / "b.nii", unit="unknown"), voxel_nm=None)


def test_places_and_the_affines_of_itk(tmp_path: Path) -> None:
    """An array without a direction is diag(-x, -y, z) when ITK writes it: the same array, whose origin is negated."""
    affine = _SIZES.copy()
    affine[:3, 3] = 4e-6 * 10, 8e-6 * 20, -40e-6
    check(_write(tmp_path / "a.nii", affine=affine), origin=(-1, 20, 10))
    check(_write(tmp_path / "b.nii", affine=np.diag([-1, -1, 1, 1]) @ affine), origin=(-1, 20, 10))


def test_axes_are_named_by_the_affine(tmp_path: Path) -> None:
    """The file lies with z closest in memory, and its affine says so."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 40e-6, 8e-6, 4e-6, 1
    check(_write(tmp_path / "a.nii", VOXELS, affine))


def test_mirrored_and_oblique_axes_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nii", affine=np.diag([-1, 1, 1, 1]) @ _SIZES)
    with pytest.raises(InputError, match="mirrored: x runs backwards.*as_closest_canonical"):
        open_volume(str(path))
    askew = _SIZES.copy()
    askew[1, 0] = 2e-6
    with pytest.raises(InputError, match="oblique axes"):
        open_volume(str(_write(tmp_path / "b.nii", affine=askew)))


def test_without_an_affine_of_its_own(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS.T, None)
    image.header.set_zooms((4e-6, 8e-6, 40e-6))
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "a.nii")
    check(tmp_path / "a.nii")


def test_scaled_numbers(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS.T, _SIZES)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "a.nii")
    # nibabel divides on saving, so that the numbers are kept up to rounding.
    found = open_volume(f"{tmp_path}/a.nii").store.read().result()
    np.testing.assert_allclose(found, nib.load(tmp_path / "a.nii").get_fdata().T)
    assert found.dtype == np.float32


def test_times_and_channels(tmp_path: Path) -> None:
    series = np.stack([VOXELS, VOXELS + 1])
    path = _write(tmp_path / "a.nii", series.T)
    check(f"{path}?t=1", VOXELS + 1)
    with pytest.raises(InputError, match=r"t of 2.*add \?t=0"):
        open_volume(str(path))
    path = _write(tmp_path / "b.nii", series[:, None].T)
    check(path, series)


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="has colours"):
        open_volume(str(_write(tmp_path / "c.nii", colours)))
    with pytest.raises(InputError, match="holds complex64"):
        open_volume(str(_write(tmp_path / "d.nii", VOXELS.T.astype(np.complex64))))
    with pytest.raises(InputError, match="a volume needs x, y and z"):
        open_volume(str(_write(tmp_path / "e.nii", VOXELS[0].T)))
    (tmp_path / "f.nii").write_bytes(b"nothing of the kind" * 40)
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        open_volume(f"{tmp_path}/f.nii")
    path = _write(tmp_path / "g.nii")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match="cut short: 7198 of the 7200 bytes"):
        open_volume(str(path))
    packed = _write(tmp_path / "h.nii.gz")
    whole = packed.read_bytes()
    packed.write_bytes(gzip.compress(gzip.decompress(whole)[:-2]))
    with pytest.raises(InputError, match="cut short: 7198 of 7200"):
        open_volume(str(packed)).store.read().result()
    packed.write_bytes(whole)
    monkeypatch.setattr(raw_array, "free_memory_bytes", lambda: 10_000)
    with pytest.raises(
        InputError, match="compressed as a whole: its .* would have to lie in memory"
    ):
        open_volume(str(packed))
