"""Crops per second of the loader, beside PyTorch's DataLoader on HDF5, zarr-python, and reading whole files.

    python benchmarks/loader.py [--peer torch|zarr|all] [--quick] [--data FOLDER]

Ours: batches as training has them, contrast stretched and blank crops redrawn, from a sharded OME-Zarr with zstd. The
page cache is warm for all. `emjax_decode` keeps nothing decoded; `emjax_cached` has read everything once;
`tensorstore_cached` is its reading alone, the ceiling. The volumes are written to `--data` at the first run.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
import timing
from timing import Candidate

BATCH = 8
# Layouts of ours: (z, y, x) voxels that are compressed together.
CHUNKS = {"16x128x128": (16, 128, 128), "64x64x64": (64, 64, 64), "default": None}


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("torch", "zarr"))
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/data"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of our loader")
    options = parser.parse_args()
    shape, crop = (
        ((32, 192, 192), (8, 64, 64)) if options.quick else ((256, 1024, 1024), (18, 160, 160))
    )
    folder = options.data / "x".join(map(str, shape))
    prepare(folder, shape)
    written = report.Report("loader", options)
    count = 2 if options.quick else 8
    common = {"shape": shape, "crop": crop, "count": count}
    candidates = {}
    names = list(CHUNKS)[:1] if options.quick else CHUNKS
    for name, threads in itertools.product(names, options.threads):
        ours = common | {"path": str(folder / f"{name}.zarr"), "threads": threads}
        # Ours begins anew each time; runs must be long beside that.
        candidates[f"emjax_decode_{name}_{threads}"] = Candidate(
            make_ours, ours | {"cached": False, "count": 4 * count}
        )
    cached = common | {"path": str(folder / "16x128x128.zarr"), "threads": max(options.threads)}
    long = {"cached": True, "count": 16 * count}
    candidates["emjax_cached"] = Candidate(make_ours, cached | long)
    alone = common | {"path": cached["path"]}
    candidates["tensorstore_cached"] = Candidate(make_tensorstore, alone | {"count": 16 * count})
    if options.peer in ("torch", "all"):
        for workers in (0, 2):
            h5 = common | {"path": str(folder / "gzip.h5"), "reader": "h5py", "workers": workers}
            candidates[f"h5py_gzip_workers{workers}"] = Candidate(make_torch, h5)
        raw = common | {"path": str(folder / "raw.h5"), "reader": "h5py", "workers": 0}
        candidates["h5py_raw_workers0"] = Candidate(make_torch, raw)
        whole = raw | {"reader": "whole_file", "count": 1}
        candidates["whole_file"] = Candidate(make_torch, whole)
    if options.peer in ("zarr", "all"):
        path = str(folder / "16x128x128.zarr" / "0")
        zarr = common | {"path": path, "reader": "zarr_python", "workers": 0}
        candidates["zarr_python"] = Candidate(make_torch, zarr)
    repeats = options.repeats or (2 if options.quick else 9)
    timings = timing.interleave(candidates, repeats, options.cores)
    per_crop = {
        name: seconds_a_crop(t, candidates[name].arguments["count"]) for name, t in timings.items()
    }
    written.add("crop", per_crop, 1, "crop")
    decoding = {n: t for n, t in per_crop.items() if n.startswith("emjax_decode")}
    fastest = min(decoding, key=lambda name: decoding[name].median)
    for name, peer in per_crop.items():
        if not name.startswith(("emjax", "tensorstore")):
            written.ratio(f"{fastest}_to_{name}", decoding[fastest], {name: peer})
            written.ratio(f"emjax_cached_to_{name}", per_crop["emjax_cached"], {name: peer})
    written.write()


def seconds_a_crop(found: timing.Timing, batches: int) -> timing.Timing:
    """The timing of one crop out of one of so many batches."""
    found.seconds = [s / (batches * BATCH) for s in found.seconds]
    found.cpu_s = [s / (batches * BATCH) for s in found.cpu_s]
    return found


def prepare(folder: Path, shape: tuple[int, int, int]) -> None:
    """Writes one volume in all layouts, unless they are there: synthetic EM, mirrored to its size."""
    import h5py

    from emjax.volumes.create import create_volume
    from emjax.volumes.store import open_volume

    done = folder / "done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = tuple(min(n, m) for n, m in zip(shape, (64, 256, 256), strict=True))
    address = f"synthetic://neurites?shape={','.join(map(str, part))}&voxel_nm=30,6,6&seed=0"
    tile = np.asarray(open_volume(address).store.read().result())
    lacking = [(0, n - p) for n, p in zip(shape, part, strict=True)]
    volume = np.pad(tile, lacking, mode="symmetric")
    for name, chunk in CHUNKS.items():
        shard = (
            tuple(min(4 * c, -(-n // c) * c) for c, n in zip(chunk, shape, strict=True))
            if chunk
            else None
        )
        store = create_volume(
            folder / f"{name}.zarr",
            shape,
            "uint8",
            (30.0, 6.0, 6.0),
            {},
            chunk,
            shard,
            overwrite=True,
        )
        store.write(volume).result()
    chunks = tuple(min(c, n) for c, n in zip(CHUNKS["16x128x128"], shape, strict=True))
    with h5py.File(folder / "gzip.h5", "w") as file:
        file.create_dataset(
            "raw", data=volume, chunks=chunks, compression="gzip", compression_opts=1
        )
    with h5py.File(folder / "raw.h5", "w") as file:
        file.create_dataset("raw", data=volume, chunks=chunks)
    done.touch()


def make_ours(
    path: str, shape: Any, crop: Any, count: int, threads: int, cached: bool
) -> Callable[[], None]:
    """Batches of the loader that training uses."""
    from absl import flags

    from emjax.data.loader import Batches
    from emjax.data.normalization import measure
    from emjax.data.opening import OpenedEntry
    from emjax.data.source import Crops
    from emjax.geometry.box import Box
    from emjax.volumes.store import open_volume, shared_context

    # grain reads flags even in a process that never parsed any.
    flags.FLAGS.mark_as_parsed()
    volume = open_volume(path, context=None if cached else shared_context(0))
    if cached:
        volume.read(Box((0, 0, 0), shape))
    entry = OpenedEntry(volume, None, measure(volume), "one", 1.0)
    batches = Batches(Crops([entry], crop, seed=0), BATCH, num_threads=threads)

    def take() -> None:
        for _ in range(count):
            next(batches)
        # Or it would read ahead while the others have their turn. A DataLoader does: to our disadvantage.
        batches.close()

    return take


def make_tensorstore(path: str, shape: Any, crop: Any, count: int) -> Callable[[], None]:
    """Decoded crops alone, several in flight: no contrast, no checks, no batches."""
    from emjax.freed_memory import keep_freed_memory
    from emjax.volumes.store import open_volume

    keep_freed_memory()
    store = open_volume(path).store
    store.read().result()
    rng = np.random.default_rng(0)

    def box() -> tuple[slice, ...]:
        starts = [int(rng.integers(n - c + 1)) for n, c in zip(shape, crop, strict=True)]
        return tuple(slice(s, s + c) for s, c in zip(starts, crop, strict=True))

    def take() -> None:
        for _ in range(count):
            for read in [store[box()].read() for _ in range(BATCH)]:
                read.result()

    return take


def make_torch(
    path: str, shape: Any, crop: Any, count: int, reader: str, workers: int
) -> Callable[[], None]:
    """Batches of a DataLoader."""
    from peers import datasets

    take = datasets.batches(reader, path, shape, crop, workers)
    return lambda: take(count)


if __name__ == "__main__":
    main()
