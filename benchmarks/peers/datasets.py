"""How others cut crops out of volumes: each reads plain uint8 crops, without the contrast and checks that ours have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from emjax.geometry.sizes import Size


class RandomCrops:
    """Crops at random places, by any function that reads a box; a dataset as PyTorch wants one."""

    def __init__(self, open_reader: Callable[[str], Callable], path: str, shape: Size, crop: Size):
        """Opens nothing yet: files must be opened in the process that reads them."""
        self._open, self._path, self._shape, self._crop = open_reader, path, shape, crop
        self._read: Callable | None = None

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, index: int) -> np.ndarray:
        if self._read is None:
            self._read = self._open(self._path)
        rng = np.random.default_rng(index)
        start = [int(rng.integers(n - c + 1)) for n, c in zip(self._shape, self._crop, strict=True)]
        box = tuple(slice(s, s + c) for s, c in zip(start, self._crop, strict=True))
        return self._read(box)


def open_h5py(path: str) -> Callable:
    """A chunked HDF5 file, one box at a time."""
    import h5py

    dataset = h5py.File(path, "r")["raw"]
    return lambda box: dataset[box]


def open_whole_file(path: str) -> Callable:
    """The paper's way: the whole file is read for each crop."""
    import h5py

    def read(box: tuple[slice, ...]) -> np.ndarray:
        with h5py.File(path, "r") as file:
            return file["raw"][:][box].copy()

    return read


def open_zarr(path: str) -> Callable:
    """zarr-python on the very array that emjax reads."""
    import zarr

    array = zarr.open_array(path, mode="r")
    return lambda box: array[box]


READERS = {
    "h5py": open_h5py,
    "whole_file": open_whole_file,
    "zarr_python": open_zarr,
}


def batches(reader: str, path: str, shape: Size, crop: Size, workers: int) -> Callable[[int], None]:
    """Returns a function that takes so many batches of 8 from a PyTorch DataLoader."""
    from torch.utils.data import DataLoader

    dataset = RandomCrops(READERS[reader], path, shape, crop)
    loader = DataLoader(dataset, 8, sampler=range(2**31), num_workers=workers)
    iterator = iter(loader)

    def take(count: int) -> None:
        for _ in range(count):
            next(iterator)

    return take
