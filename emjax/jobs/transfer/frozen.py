"""Trains the decoder of a frozen encoder: what the encoder makes of the samples is computed once and kept."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from tqdm import tqdm

from emjax.errors import InputError
from emjax.models.build import apply
from emjax.models.encoder_decoder import EncoderDecoder
from emjax.parallel.compile import jit
from emjax.runs.exit_status import DONE, PREEMPTED
from emjax.runs.whole_file import open_whole, write_whole
from emjax.tasks.segment import Segment
from emjax.tasks.task import Params
from emjax.train.interrupt import Interrupt
from emjax.train.job import PreparedRun, finish_training
from emjax.train.loop import fit
from emjax.train.metrics import METRICS_FILE
from emjax.train.preparation import make_batches
from emjax.train.transfer import start_from
from emjax.train.weights import restore_params, write_params

_DECODER = ("decoder", "head")
_ENCODED = "encoded"


@dataclasses.dataclass(frozen=True)
class DecoderTask:
    """Segmentation of which only decoder and head learn; batches have what the encoder made of the crops.

    Attributes:
        segment: the whole task.
        start: parameters of decoder and head at the start.
    """

    segment: Segment
    start: Params

    def init(self, key: jax.Array) -> Params:
        """Returns the parameters of decoder and head."""
        del key
        return {"backbone": jax.tree.map(jnp.asarray, self.start)}

    def loss(
        self, params: Params, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of one batch of augmented crops.

        Args:
            params: as made by `init`.
            batch: `image` `[b, z, y, x]` in [0, 1], `labels` (and `classes`), `voxel_nm`, and the arrays of the
                encoder.
            key: not used, since the crops are augmented already.
        """
        del key
        names = sorted(name for name in batch if name.startswith(_ENCODED))
        maps, centre = [batch[name] for name in names[1:]], batch[names[0]]
        encoded = ([found if found.size else None for found in maps], centre)
        image = batch["image"][..., None]
        features = apply(self.segment.backbone, params["backbone"], image, encoded=encoded)
        labels = {name: batch[name] for name in self.segment.label_kinds}
        targets = self.segment.make_targets(labels, batch["voxel_nm"])
        return self.segment.losses(features["output"], *targets)


class KeptBatches:
    """Batches that were written to files, one after the other, from the start again after the last."""

    def __init__(self, folder: Path, count: int) -> None:
        """Reads nothing."""
        self._folder = folder
        self._count = count
        self._next = 0

    def __next__(self) -> dict[str, np.ndarray]:
        """Reads the next batch."""
        with np.load(_batch_file(self._folder, self._next % self._count)) as arrays:
            batch = dict(arrays)
        self._next += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """Returns the number of the next batch."""
        return {"next_batch": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Moves to a batch."""
        self._next = int(state["next_batch"])

    def queued(self) -> float:
        """Returns 0: nothing is read ahead."""
        return 0.0

    def close(self) -> None:
        """Has nothing to stop."""


def train_frozen(prepared: PreparedRun, batches: int) -> int:
    """Trains decoder and head alone, in the place of `emjax.train.job.run_training`.

    The augmented batches are those that finetuning with the same seed would see; after `batches` of them, they come
    again. What the encoder makes of each is a file in `encoded/`, computed where it is not there.

    Args:
        prepared: the run; an unfinished one in its folder is continued.
        batches: number of different batches; 0: as many as there are steps.

    Returns:
        Exit status: `DONE`, or `PREEMPTED` if interrupted after saving.

    Raises:
        InputError: if the network has no encoder apart from its decoder; on several processes.
    """
    task, settings, folder = prepared.task, prepared.settings, Path(os.fspath(prepared.folder))
    check_frozen(task)
    count = min(batches or settings.num_steps, settings.num_steps)
    init_key, rng = jax.random.split(jax.random.key(settings.seed))
    with jax.set_mesh(prepared.mesh):
        params = jit(task.init)(init_key)
        if settings.init_from:
            weights = restore_params(settings.init_from)
            params = jax.device_get(start_from(params, weights, settings.job))
        if not _encode(prepared, params, rng, folder / _ENCODED, count):
            return PREEMPTED
    decoder_folder = prepared.folder / "decoder"
    decoder_folder.mkdir(exist_ok=True)
    start = {name: p for name, p in params["backbone"].items() if name.startswith(_DECODER)}
    optimizer = dataclasses.replace(settings.optimizer, freeze="")
    result = fit(
        DecoderTask(task, jax.device_get(start)),
        KeptBatches(folder / _ENCODED, count),
        dataclasses.replace(settings, init_from="", optimizer=optimizer),
        decoder_folder,
        mesh=prepared.mesh,
        run_spec=prepared.spec,
        layers=task.backbone.layers,
    )
    if result.preempted:
        logging.info("interrupted after step %d, saved; the same command continues", result.steps)
        return PREEMPTED
    trained = jax.device_get(result.params)["backbone"]
    whole = {"backbone": {**jax.device_get(params["backbone"]), **trained}}
    write_params(prepared.folder, whole, prepared.spec)
    record = (decoder_folder / METRICS_FILE).read_bytes()
    write_whole(prepared.folder / METRICS_FILE, record)
    judge = prepared.make_judge()
    scores: Mapping[str, float] = {}
    if judge is not None:
        with jax.set_mesh(prepared.mesh):
            scores = judge(whole, result.steps).scalars
    finish_training(prepared, result.results() | dict(scores), judge, whole)
    return DONE


def check_frozen(task: Segment) -> None:
    """Raises InputError unless the decoder of a task's network can be trained by itself."""
    if not isinstance(task.backbone, EncoderDecoder):
        raise InputError(
            f"'+frozen' needs a network whose decoder can be trained by itself, and a {type(task.backbone).__name__} "
            "is none; use optimizer.freeze in finetuning instead"
        )
    if jax.process_count() > 1:
        raise InputError(
            "'+frozen' arms are trained by one process; start the command without others"
        )


def _encode(
    prepared: PreparedRun, params: Params, rng: jax.Array, folder: Path, count: int
) -> bool:
    """Writes the batches and what the encoder makes of them; returns False if it was interrupted."""
    task = prepared.task
    folder.mkdir(exist_ok=True)

    def encode(
        params: Params, batch: Mapping[str, jax.Array], step: jax.Array
    ) -> dict[str, jax.Array]:
        image, labels = task.augment(batch, jax.random.fold_in(rng, step))
        features = apply(task.backbone, params["backbone"], image[..., None])
        maps, centre = features["encoded"]
        # In the order of their names: the centre, then the maps from fine to coarse.
        arrays = [centre, *(jnp.zeros((len(image), 0)) if m is None else m for m in maps)]
        kept = {f"{_ENCODED}{number:02d}": array for number, array in enumerate(arrays)}
        return {**kept, **labels, "image": image, "voxel_nm": batch["voxel_nm"]}

    run = jit(encode)
    with Interrupt() as interrupt:
        for number, batch in _batches(prepared, count):
            if not _batch_file(folder, number).exists():
                arrays = jax.device_get(run(params, batch, jnp.int32(number)))
                with open_whole(_batch_file(folder, number)) as file:
                    np.savez(cast("Any", file), **arrays)
            if interrupt.reached(number + 1):
                logging.info("interrupted after batch %d; the same command continues", number + 1)
                return False
    return True


def _batches(prepared: PreparedRun, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    source = make_batches(prepared.settings.data, prepared.crops)
    try:
        for number in tqdm(range(count), desc="encode", disable=None, unit="batch"):
            rows = next(source)
            yield (
                number,
                {
                    n: rows[n]
                    for n in ("image", *prepared.task.label_kinds, "voxel_nm")
                    if n in rows
                },
            )
    finally:
        source.close()


def _batch_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.npz"
