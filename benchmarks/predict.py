"""Prediction of a whole volume, from disk to disk, beside MONAI's sliding window with the same network in PyTorch.

    python benchmarks/predict.py [--peer monai] [--quick] [--device cpu|gpu] [--side 256] [--network paper|narrow]

Both read an OME-Zarr volume and write uint8 probabilities to another; tiles, overlap and blending are the same, the
weights too. Ours works block by block, so that memory does not grow with the volume, as configs/predict.py does;
MONAI has volume and sums in memory. `--shares` also runs ours with a wait after each part, to see what each costs. The
first run of each, which does not count, is a tile or two.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import report
import timing
from timing import AS_JOBS_START, Candidate

NETWORKS = {
    "paper": {"name": "unet", "widths": (28, 36, 48, 64, 80), "kernels": ((3, 3, 3),)},
    "narrow": {
        "name": "unet",
        "widths": (8, 16, 32, 48),
        "kernels": ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    },
}
_TINY = {"name": "unet", "widths": (4, 8), "kernels": ((1, 3, 3),)}
OUTPUTS = 3
OVERLAP = 0.25
FORMS = ("torch", "torch_channels_last")


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__, ("monai",))
    parser.add_argument("--side", type=int, default=256, help="voxels of the volume's side")
    parser.add_argument("--network", default="paper", choices=tuple(NETWORKS))
    parser.add_argument("--forms", nargs="+", default=FORMS, choices=FORMS, help="of the peer")
    parser.add_argument("--tile", type=int, nargs=3, default=(18, 160, 160))
    parser.add_argument(
        "--block", type=int, default=0, help="voxels of a block's side; 0: as the job chooses"
    )
    parser.add_argument("--num_workers", type=int, default=1)
    parser.add_argument("--shares", action="store_true")
    options = parser.parse_args()
    side = 32 if options.quick else options.side
    network = _TINY if options.quick else NETWORKS[options.network]
    tile = (8, 32, 32) if options.quick else tuple(options.tile)
    dtype = "bfloat16" if options.device == "gpu" else "float32"
    network = network | {"skips": "add", "out_channels": OUTPUTS, "dtype": dtype}
    folder = Path(tempfile.mkdtemp())
    try:
        image = write_image(folder, side)
        common = {"image": image, "folder": str(folder), "network": network, "tile": tile}
        ours = common | {
            "block": options.block,
            "num_workers": options.num_workers,
            "shares": False,
        }
        environment = AS_JOBS_START | ({"JAX_PLATFORMS": "cpu"} if options.device == "cpu" else {})
        candidates = {"emjax": Candidate(make_ours, ours, environment)}
        if options.shares:
            candidates["emjax_waiting"] = Candidate(make_ours, ours | {"shares": True}, environment)
        if options.peer:
            for form in options.forms:
                candidates[f"monai_{form}"] = Candidate(
                    make_monai, common | {"form": form, "device": options.device}
                )
        timings = timing.interleave(
            candidates, options.repeats or (1 if options.quick else 3), options.cores
        )
    finally:
        shutil.rmtree(folder)
    written = report.Report("predict", options)
    written.add("predict", timings, side**3 / 1e6, "Mvoxel")
    if options.shares:
        parts = timings.pop("emjax_waiting")
        for name, seconds in parts.extra.items():
            if name.endswith("_s"):
                share = 100 * seconds / parts.seconds[-1]
                written.number(f"share_{name.removesuffix('_s')}", share, "% of a run that waits")
    if options.peer:
        sums = {name: found.extra["mean"] for name, found in timings.items()}
        # MONAI's tiles lie a voxel elsewhere, and each tile has its own statistics of the normalization.
        assert max(sums.values()) - min(sums.values()) < 3, f"not the same prediction: {sums}"
        ours_timing = timings.pop("emjax")
        written.ratio("predict", ours_timing, timings, memory=True)
    written.write()


def write_image(folder: Path, side: int) -> str:
    """Writes synthetic EM, mirrored to its size; returns its path."""
    from emjax.volumes.create import create_volume
    from emjax.volumes.store import open_volume

    small = min(side, 128)
    address = f"synthetic://neurites?shape={small},{small},{small}&voxel_nm=30,8,8"
    voxels = np.asarray(open_volume(address).store.read().result())
    voxels = np.pad(voxels, [(0, side - small)] * 3, mode="symmetric")
    path = folder / "image.zarr"
    create_volume(path, voxels.shape, "uint8", (30.0, 8.0, 8.0), {}).write(voxels).result()
    return str(path)


def make_parameters(network: dict[str, Any], tile: Any) -> tuple[Any, Any]:
    """A network and parameters that are the same in every process."""
    import jax
    import jax.numpy as jnp

    from emjax.models.build import build_backbone, init_params
    from emjax.parallel.compile import jit

    backbone = build_backbone(network)
    image = jax.ShapeDtypeStruct((1, *tile, 1), jnp.float32)
    return backbone, jit(lambda key: init_params(backbone, key, image))(jax.random.key(0))


def make_ours(
    image: str, folder: str, network: Any, tile: Any, block: int, num_workers: int, shares: bool
) -> Callable[[], dict[str, float]]:
    """Blocks of the volume as configs/predict.py has them."""
    import jax

    from emjax.blocks.block_size import default_block_size
    from emjax.blocks.done import DoneBlocks
    from emjax.blocks.run import run_blocks
    from emjax.geometry.box import Box
    from emjax.geometry.grid import Block, Grid
    from emjax.inference.predictor import Predictor, default_batch_size
    from emjax.inference.tiles import Tiling
    from emjax.inference.variants import make_variants
    from emjax.models.build import apply
    from emjax.parallel.mesh import make_mesh
    from emjax.volumes.create import create_volume
    from emjax.volumes.store import open_for_blocks
    from emjax.volumes.write.pyramid import chunk_size

    backbone, params = make_parameters(network, tile)
    volume = open_for_blocks(image)
    tiling = Tiling(volume.size, tile, OVERLAP, "gaussian", (None,) * OUTPUTS)
    chunk = chunk_size(volume.size, volume.voxel_nm)
    size = (block,) * 3 if block else default_block_size(volume.size, tiling.stride, chunk, OUTPUTS)
    grid = Grid(
        Box((0, 0, 0), volume.size), tuple(-(-s // c) * c for s, c in zip(size, chunk, strict=True))
    )
    mesh = make_mesh({"data": -1, "fsdp": 1, "spatial": 1})
    predictor = Predictor(
        lambda params, x: jax.nn.sigmoid(apply(backbone, params, x[..., None])["output"]),
        params,
        tiling,
        grid,
        variants=make_variants(1, tile),
        batch_size=default_batch_size(tile, mesh),
        mesh=mesh,
        dtype="uint8",
    )
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        if not shares:
            return work

        def waiting(*arguments: Any) -> Any:
            began = time.perf_counter()
            found = jax.block_until_ready(work(*arguments))
            spent[name] += time.perf_counter() - began
            return found

        return waiting

    for name, part in {
        "network": "compute",
        "blend": "blend",
        "cut": "cut",
        "finish": "finish",
    }.items():
        setattr(predictor, f"_{name}", timed(f"{part}_s", getattr(predictor, f"_{name}")))
    read = timed("read_s", volume.read)
    runs = [0]

    def run() -> dict[str, float]:
        runs[0] += 1
        if runs[0] == 1:
            corner = Box((0, 0, 0), (1, 1, 1))
            predictor(read, Block(0, corner, corner))
            return {}
        spent.clear()
        place = f"{folder}/ours{shares}{runs[0]}"
        shape = (OUTPUTS, *volume.size)
        store = create_volume(
            f"{place}.zarr", shape, "uint8", volume.voxel_nm, {}, chunk, grid.core_size
        )
        write = timed(
            "write_s", lambda box, found: store[(slice(None), *box.slices)].write(found).result()
        )
        done = DoneBlocks(place, "benchmark")
        done.begin()
        summary = run_blocks(
            grid,
            lambda block: write(block.core, predictor(read, block)),
            done,
            what="predict",
            num_workers=num_workers,
        )
        summary.check(grid)
        mean = float(np.asarray(store.read().result()).mean())
        shutil.rmtree(f"{place}.zarr")
        return {"mean": mean, "blocks": len(grid), **spent}

    return run


def make_monai(
    image: str, folder: str, network: Any, tile: Any, form: str, device: str
) -> Callable[[], dict[str, float]]:
    """Whole volume in memory, MONAI's sliding window, the twin with the same weights."""
    import jax
    import torch
    import zarr
    from monai.inferers import sliding_window_inference
    from peers.torch_models import copy_parameters
    from peers.torch_runs import FORMS, build

    jax.config.update("jax_platforms", "cpu")
    backbone, params = make_parameters(network, tile)
    place = "cuda" if device == "gpu" else "cpu"
    twin = build(backbone, tile)
    copy_parameters(params, twin)
    twin = twin.to(place, memory_format=FORMS[form][0]).eval()
    autocast = torch.autocast(place, torch.bfloat16, enabled=place == "cuda")
    batch = 16 if device == "gpu" else 1
    warm = [False]

    def run() -> dict[str, float]:
        part = tuple(slice(None if warm[0] else side) for side in tile)
        warm[0] = True
        with torch.inference_mode(), autocast:
            array = zarr.open_array(f"{image}/0", mode="r")[part]
            voxels = torch.from_numpy(array)[None, None].to(place)
            found = sliding_window_inference(
                voxels.float() / 255,
                tile,
                batch,
                lambda x: torch.sigmoid(twin(x)),
                OVERLAP,
                mode="gaussian",
            )
            found = torch.round(found[0] * 255).to(torch.uint8).cpu().numpy()
        array = zarr.create_array(
            f"{folder}/{form}.zarr",
            shape=found.shape,
            chunks=(1, 64, 64, 64),
            dtype="uint8",
            overwrite=True,
        )
        array[:] = found
        return {"mean": float(found.mean())}

    return run


if __name__ == "__main__":
    main()
