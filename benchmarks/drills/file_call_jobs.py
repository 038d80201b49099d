"""The commands that the drill of file changes breaks: each job once or more, as small as it can be.

Paths are relative to the folder of the drill. What is drilled lies in its `work`; volumes and networks that are only
read lie beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

Fields = Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is drilled.

    Attributes:
        config: name of the config file, with a preset where it has one.
        fields: fields of the configuration.
        outputs: what must be as after an undisturbed run: addresses of volumes, files (`.json`, `.jsonl`,
            `.safetensors`), or folders with checkpoints, of which the last is compared.
        before: fields of a command that is run before, whose output the drilled one replaces; empty: none.
        needs: name of a network in `NETWORKS` that the command reads; '': none.
    """

    config: str
    fields: Fields
    outputs: Sequence[str]
    before: Fields = dataclasses.field(default_factory=dict)
    needs: str = ""

    def command(self, fields: Fields, workdir: str = "work/run") -> list[str]:
        """Returns the arguments of the command."""
        file, _, preset = self.config.partition(":")
        given = [f"--config.{name}={value}" for name, value in fields.items()]
        config = f"configs/{file}.py" + (f":{preset}" if preset else "")
        return ["--config", config, "--workdir", workdir, *given]


_CONVERT = {"input": "em.zarr", "block_size": "8,16,16", "chunk": "4,8,8", "shard": "8,16,16"}
_SEGMENT = {"input": "affinities.zarr", "output": "work/ids.zarr", "block_size": "8,16,16"}
_SEGMENT |= {"fragment_size": "8,16,16"}
_OLD, _NEW = {"box": "0:4,:,:"}, {"overwrite": "true"}
# Two steps, a save after each, one checkpoint kept: a run makes, replaces and deletes checkpoints.
_TRAIN = {
    "num_steps": 2,
    "save.every_steps": 1,
    "save.keep": 1,
    "log.every_steps": 1,
    "eval.every_steps": 1,
    "data.allow_overlap": "true",
    "eval.crops": 2,
    "mesh.data": 1,
    "data.batch_size": 2,
    "data.num_threads": 1,
    "model.widths": "4,8",
}
_PRETRAIN = _TRAIN | {
    "data.volumes": "em.zarr",
    "data.crop_size": "2,16,16",
    "augment.max_offset": "1,2,2",
    "loss.levels": "0",
    "loss.num_tokens": 8,
    "loss.size": 8,
    "loss.heads": 2,
    "eval.volumes": "em.zarr",
    "eval.queries": 16,
    "eval.distractors": 7,
    "eval.exclusion_radius": "1,1,1",
}
_FINETUNE = _TRAIN | {
    "data.volumes": "em.zarr|ids.zarr",
    "eval.volumes": "em.zarr|ids.zarr",
    "data.crop_size": "4,16,16",
    "targets": "foreground?losses=bce",
}
_RESULTS = "work/run/results.json"
_RUN = [_RESULTS, "work/run/metrics.jsonl", "work/run/checkpoints"]
JOBS = {
    "convert, zarr": Job(
        "convert", _CONVERT | {"output": "work/o.zarr"}, ["work/o.zarr", "work/o.zarr?level=1"]
    ),
    "convert, precomputed": Job(
        "convert",
        _CONVERT
        | {"output": "precomputed://work/o.precomputed", "chunk": "8,8,8", "shard": "16,16,16"},
        ["work/o.precomputed"],
    ),
    "convert, HDF5": Job(
        "convert",
        _CONVERT | {"output": "work/o.h5"},
        ["work/o.h5:main"],
    ),
    "convert, zarr replaced": Job(
        "convert",
        _CONVERT | _NEW | {"output": "work/o.zarr"},
        ["work/o.zarr", "work/o.zarr?level=1"],
        _CONVERT | _OLD | {"output": "work/o.zarr"},
    ),
    "convert, HDF5 replaced": Job(
        "convert",
        _CONVERT | _NEW | {"output": "work/o.h5"},
        ["work/o.h5:main"],
        _CONVERT | _OLD | {"output": "work/o.h5"},
    ),
    "segment": Job("segment", _SEGMENT, ["work/ids.zarr"]),
    "segment, replaced": Job(
        "segment", _SEGMENT | _NEW, ["work/ids.zarr"], _SEGMENT | {"settings": "threshold=0.2"}
    ),
    "evaluate": Job(
        "evaluate",
        {"segmentation": "ids.zarr", "labels": "ids.zarr", "block_size": "4,16,16"},
        [_RESULTS],
    ),
    "objects": Job("objects", {"input": "ids.zarr", "block_size": "4,16,16"}, [_RESULTS]),
    "tune": Job(
        "tune",
        {"input": "affinities.zarr", "labels": "ids.zarr", "grid": "threshold=0.3,0.5"},
        ["work/run/decoding.json", _RESULTS],
    ),
    "view": Job(
        "view",
        {"volumes": "em.zarr", "png": "work/p.png", "serve": "false"},
        [_RESULTS],
    ),
    "pretrain": Job("pretrain:smoke", _PRETRAIN, _RUN),
    "finetune": Job("finetune:smoke", _FINETUNE, _RUN),
    "predict": Job(
        "predict",
        {
            "checkpoint": "network",
            "input": "em.zarr",
            "output": "work/p.zarr",
            "block_size": "8,16,16",
            "tile_size": "4,16,16",
        },
        ["work/p.zarr"],
        needs="finetune",
    ),
    "attribute": Job(
        "attribute",
        {
            "checkpoint": "network",
            "input": "em.zarr",
            "region": "all",
            "methods": "gradient",
            "sections": 3,
            "images": 1,
            "pictures": 1,
        },
        [_RESULTS],
        needs="finetune",
    ),
    "export_weights": Job(
        "export_weights",
        {"checkpoint": "network", "output": "work/out", "licence": "CC0-1.0"},
        ["work/out/model.safetensors"],
        needs="finetune",
    ),
}
# Jobs that compile; their tries take seconds.
ON_DEVICES = ("pretrain", "finetune", "predict", "attribute", "export_weights")
