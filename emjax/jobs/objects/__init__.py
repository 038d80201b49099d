"""Measures the objects of a segmentation, and lists the pairs that touch."""

from __future__ import annotations

import os
from typing import NamedTuple

from ml_collections import ConfigDict

from emjax.blocks.block_size import whole_chunks
from emjax.blocks.complete import refuse_incomplete
from emjax.blocks.fingerprint import fingerprint
from emjax.blocks.lock import OutputLock
from emjax.blocks.output import work_identity
from emjax.blocks.passes import BlockPasses, goes_on
from emjax.blocks.running_total import RunningTotal
from emjax.config import identity
from emjax.errors import InputError
from emjax.geometry.box import Box
from emjax.geometry.grid import Grid
from emjax.geometry.sizes import Size
from emjax.jobs.objects.settings import Settings
from emjax.objects.files import Space, write_contacts, write_objects
from emjax.objects.measure import Contacts, ObjectSums, check_image
from emjax.objects.passes import MeasureObjects
from emjax.runs.folder import open_run_folder, write_results
from emjax.volumes.chunk_sides import read_sides
from emjax.volumes.label_ids import LabelIds
from emjax.volumes.origin import origin_voxels
from emjax.volumes.pairs import lay
from emjax.volumes.roles import open_ids, refuse_idle_keys
from emjax.volumes.store import open_volume
from emjax.volumes.volume import Volume

OBJECTS, CONTACTS = "objects.parquet", "contacts.parquet"
# Voxels that are measured at a time, and where chunks are not known.
_BLOCK_VOXELS = 1 << 24
_CHUNK = (32, 256, 256)


class _Inputs(NamedTuple):
    volume: Volume
    image: Volume | None
    box: Box
    label_ids: LabelIds
    space: Space


@goes_on
def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Measures the objects of a volume, and writes both tables and `results.json` to `workdir`.

    Args:
        config: as made by `configs/objects.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done, 75 interrupted; the same command goes on.

    Raises:
        InputError: if the configuration or the volumes cannot work, or blocks could not be read.
    """
    settings = Settings.from_config(config)
    inputs = _open(settings)
    with OutputLock(f"{os.fspath(workdir)}/{OBJECTS}", "objects"):
        folder = os.fspath(open_run_folder(workdir, config))
        known = {
            "config": identity(config),
            "volumes": [
                fingerprint(address) for address in (settings.input, settings.image) if address
            ],
        }
        shared = settings.shared
        passes = BlockPasses(folder, work_identity(known), shared.cluster, shared.num_workers)
        objects, contacts = _measure(shared.block_size, inputs, passes)
        paths = [f"{folder}/{name}" for name in (OBJECTS, CONTACTS)]
        write_objects(paths[0], objects, contacts, inputs.space, intensity=inputs.image is not None)
        write_contacts(paths[1], contacts, inputs.space)
        results = {
            "objects": len(objects),
            "contacts": len(contacts),
            "voxels": inputs.box.volume,
            "object_voxels": int(objects.voxels.sum()),
            "objects_at_border": int((objects.border > 0).any(axis=1).sum()),
        }
        write_results(folder, results | passes.results())
        passes.clear()
    print(_closing_lines(inputs, results, paths), flush=True)
    return 0


def _open(settings: Settings) -> _Inputs:
    """Opens and checks all that is read."""
    volume = open_ids(settings.input, "input")
    if volume.voxel_nm is None:
        raise InputError(
            f"input {volume.name} does not say the size of its voxels; add ?voxel_nm=Z,Y,X (nm) to its address, as in "
            f"--config.input='{volume.name}?voxel_nm=40,4,4'"
        )
    image = open_volume(settings.image) if settings.image else None
    shared = settings.shared
    for name, address in (("input", settings.input), ("image", settings.image)):
        if address:
            refuse_incomplete(address, name, shared.allow_incomplete)
    if image is not None:
        refuse_idle_keys(image.address, "image")
        check_image(image.dtype, image.name)
        if len(image.shape) != 3:
            raise InputError(f"image {image.name} has axes {list(image.shape)}; give one channel")
        laid = lay({"input": volume, "image": image}, around=("image",))
        laid.log()
        image = laid.volumes["image"]
    box = Box.from_text(shared.box, volume.size) if shared.box else Box((0, 0, 0), volume.size)
    label_ids = LabelIds.of(volume.address, ignore=settings.ignore_ids)
    space = Space(
        volume.voxel_nm, volume.box.start, origin_voxels(volume), str(volume.address.absolute())
    )
    return _Inputs(volume, image, box, label_ids, space)


def _measure(
    block_size: tuple[int, ...], inputs: _Inputs, passes: BlockPasses
) -> tuple[ObjectSums, Contacts]:
    """Measures all blocks and adds up what was found."""
    grid = Grid(inputs.box, block_size or _block_size(inputs.volume, inputs.box))
    image = str(inputs.image.address.absolute()) if inputs.image else ""
    work = MeasureObjects(
        input=inputs.space.address,
        image=image,
        outer=inputs.box,
        label_ids=inputs.label_ids,
        folder=passes.path("objects"),
    )
    passes.run("objects", grid, work)
    objects, contacts = RunningTotal(ObjectSums), RunningTotal(Contacts)
    for part in passes.parts("objects", range(len(grid))):
        objects.add(ObjectSums.from_arrays(part))
        contacts.add(Contacts(part["pairs"], part["shared"]))
    return objects.total(), contacts.total()


def _block_size(volume: Volume, box: Box) -> Size:
    chunk = read_sides(volume.store)[-3:]
    return whole_chunks(box.size, chunk if all(chunk) else _CHUNK, _BLOCK_VOXELS)


def _closing_lines(inputs: _Inputs, results: dict[str, int], paths: list[str]) -> str:
    share = results["object_voxels"] / results["voxels"]
    nm = " x ".join(f"{side:g}" for side in inputs.space.voxel_nm)
    return "\n".join(
        [
            f"{results['objects']:,} objects fill {share:.1%} of {results['voxels']:,} voxels of {nm} nm; "
            f"{results['objects_at_border']:,} of them reach the border of the volume; {results['contacts']:,} pairs "
            "touch",
            f"objects      {paths[0]}",
            f"contacts     {paths[1]}",
            f"open them    python -c \"import pyarrow.parquet as p; print(p.read_table('{paths[0]}'))\"",
        ]
    )
