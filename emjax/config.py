"""The configuration: the fields that all training jobs share, their checks, and helpful errors.

A job's file in `configs/` starts from `base_config` and adds its own fields. `validate` runs before
anything expensive. Nothing here imports jax, so that mistakes in a command are reported at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from emjax.errors import InputError

Preset = TypeVar("Preset")
Group = TypeVar("Group")

OPTIMIZERS = ("adamw", "lamb", "sgd", "adam_released")
SCHEDULES = ("cosine", "constant", "paper")
DTYPES = ("auto", "float32", "bfloat16")

# Fields that do not change the result of a run (except by rounding, for the mesh): they may differ when a run
# continues. Arms and seeds of a comparison are runs of their own, to which others may be added. All other fields are
# part of the run's identity, including `eval.crops` and similar fields: they may decide which data are held out.
UNHASHED = (
    "overwrite",
    "allow_incomplete",
    "max_bad_steps",
    "profile_steps",
    "num_workers",
    "cluster",
    "arms",
    "seeds",
    "resamples",
    "data.allow_overlap",
    "data.num_threads",
    "data.prefetch_batches",
    "eval.every_steps",
    "log",
    "mesh",
    "save",
)


class Config(ConfigDict):
    """A group of fields; when locked, as every file in `configs/` returns it, it accepts no other fields.

    Attributes:
        places: name of a field -> file and line of the code that gave it its first value; what is written there is the
            help on that field. Fields made of a dictionary are left out.
        told: fields that were set after the group was locked: those that a user chose, not a preset.
    """

    places: dict[str, tuple[str, int]]
    told: set[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # An ordinary attribute would become a field.
        object.__setattr__(self, "places", {})
        object.__setattr__(self, "told", set())
        super().__init__(*arguments, **options)

    def __setitem__(self, key: str, value: Any) -> None:
        """Sets a field.

        Raises:
            InputError: if there is no such field and the group is locked; names the nearest.
        """
        if self.is_locked and key not in self:
            raise InputError(f"unknown field '{key}'{nearest(key, self)}")
        if key not in self:
            _note_place(self.places, key)
        if self.is_locked:
            self.told.add(key)
        super().__setitem__(key, value)

    def lock(self) -> Config:
        """Locks the group and those in it, and returns it."""
        super().lock()
        return self


def _note_place(places: dict[str, tuple[str, int]], key: str) -> None:
    """Notes which code sets a field: the first in the stack that is not ml_collections or this file."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("ml_collections"):
        frame = frame.f_back
    if frame.f_code.co_name != "__init__":
        places[key] = (frame.f_code.co_filename, frame.f_lineno)


def base_config(job: str) -> Config:
    """Returns the fields that training jobs share, with their defaults.

    Args:
        job: name of the module of `emjax.jobs` to run.
    """
    c = Config()
    c.job = job
    c.seed = 0  # seed of parameters, augmentation and sampling
    c.num_steps = 1000  # number of batches; the schedules are stretched over them
    c.init_from = ""  # run, step or params folder whose weights start this run; '': from scratch
    c.overwrite = (
        False  # True: delete a finished run, or one of another configuration, in the workdir
    )
    c.max_bad_steps = (
        20  # stop after this many successive steps whose loss or gradient is not finite
    )
    c.profile_steps = ""  # FROM:TO, steps traced for the profiler into WORKDIR/profile; '': none

    c.data = Config()
    c.data.volumes = (
        ""  # PATH[:DATASET][BOX][?key=value], entries separated by ';', labels after '|'
    )
    c.data.batch_size = 8  # crops in each step, all devices together
    c.data.crop_size = (8, 64, 64)  # z, y, x voxels that the network sees
    # z, y, x nm to resample crops to, by means where voxels become larger; (): as they are stored
    c.data.voxel_nm = ()
    c.data.exclude = ""  # addresses with boxes that are never read, separated by ';'
    c.data.allow_overlap = (
        False  # True: score the network also on voxels that it is trained on (eval.volumes, probes)
    )
    c.data.pad = "error"  # volumes smaller than a crop: 'error', or 'reflect' to mirror them
    c.data.label_fraction = 1.0  # part of each labelled volume that is used, in (0, 1]
    c.data.probabilities = ()  # one for each data set, sum 1; (): equal for all data sets
    c.data.max_blank_tries = 10  # redraws of a crop without texture before it is taken anyway
    c.data.num_threads = 2  # reading threads of each process, up to 8 crops each at a time
    c.data.prefetch_batches = 2  # batches read ahead

    c.model = Config()  # the fields of the network; the job's file fills them
    c.model.name = (
        "unet"  # or 'vit', or that of an encoder with published weights (docs/weights.md)
    )
    c.model.dtype = (
        "auto"  # type of activations: 'float32', 'bfloat16'; 'auto': bfloat16 on accelerators
    )

    c.optimizer = Config()
    c.optimizer.name = "adamw"  # 'lamb', 'sgd', or 'adam_released': that of the paper's code
    c.optimizer.learning_rate = 1e-3  # peak of the schedule
    c.optimizer.final_learning_rate = 1e-6  # end of the 'cosine' schedule
    c.optimizer.schedule = (
        "cosine"  # 'constant', or 'paper': power 1.5 to a tenth at 200 000 updates
    )
    c.optimizer.warmup_fraction = (
        0.02  # share of the updates with a linear rise from 0; not for 'paper'
    )
    c.optimizer.weight_decay = (
        1e-4  # for kernels only; for 'adam_released' coupled, and for all parameters
    )
    c.optimizer.betas = (0.9, 0.999)  # decay of both moments; the first is the momentum of 'sgd'
    c.optimizer.clip_norm = 1.0  # largest global norm of a gradient; 0: no clipping
    # The gradients of this many batches are averaged before one update. It saves memory; it does NOT
    # enlarge the set of negatives of a contrastive loss, which come from one batch.
    c.optimizer.accumulate_steps = 1
    c.optimizer.layer_decay = 1.0  # each earlier layer of the backbone learns slower by this factor
    c.optimizer.freeze = ""  # patterns of parameters that do not learn: backbone/(stem|encoder)
    c.optimizer.ema_decay = 0.0  # moving average of the weights, used for evaluation; 0: none
    # Last share of the steps that is trained with the statistics of normalization that prediction uses; for
    # model.norm 'running' and 'calibrated'.
    c.optimizer.fixed_statistics = 0.3

    c.mesh = Config()  # devices on each axis; one axis may be -1: all remaining devices
    c.mesh.data = -1  # the batch is split, parameters are copied
    c.mesh.fsdp = 1  # the batch is split, and so are large parameters
    c.mesh.spatial = 1  # y of each crop is split, for crops larger than a device

    c.save = Config()
    c.save.every_steps = 500  # steps between checkpoints; one more at the end
    c.save.keep = 3  # number of latest checkpoints to keep; the best one is kept too
    c.save.best_metric = (
        ""  # evaluation metric that chooses the best checkpoint; '': the last one is best
    )
    c.save.best_mode = "max"  # or 'min'

    c.eval = Config()
    c.eval.every_steps = 500  # steps between evaluations; one more at the end

    c.log = Config()
    c.log.every_steps = 20  # steps between lines of the log, means over these steps
    # Services that metrics and pictures are sent to besides the run folder: 'wandb' (Weights & Biases), 'mlflow', both
    # separated by ','; '': none. See docs/logging.md
    c.log.to = ""
    c.log.project = "emjax"  # project of Weights & Biases, experiment of MLflow
    return c


def told_fields(config: ConfigDict) -> frozenset[str]:
    """Returns the dotted names of the fields that a user chose, on the command line or in code."""
    found = set(config.told) if isinstance(config, Config) else set()
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= {f"{name}.{field}" for field in told_fields(value)}
    return frozenset(found)


def choose_preset(presets: Mapping[str, Preset], name: str) -> Preset:
    """Returns the preset of that name.

    Args:
        presets: name -> preset; '' is the default.
        name: the text after the colon of `--config FILE:NAME`.

    Raises:
        InputError: if there is no such preset; names the nearest and all others.
    """
    if name not in presets:
        raise InputError(f"unknown preset '{name}'{nearest(name, presets)}")
    return presets[name]


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns '; did you mean X? known: A, B', to end a message about an unknown name."""
    known = sorted(k for k in known if k)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{match[0]}'?" if match else ";"
    return f"{hint} known: {', '.join(known) if known else 'none'}"


def plain(value: Any) -> Any:
    """Returns a config, or part of one, as plain dicts, lists and scalars, as JSON can hold them."""
    if isinstance(value, ConfigDict | Mapping):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def pick(kind: type[Group], values: ConfigDict | Mapping[str, Any], **own: Any) -> Group:
    """Makes a dataclass from the values of a configuration for its fields; lists become tuples.

    Args:
        kind: the dataclass.
        values: a configuration or a group of it; its other fields are left out.
        **own: fields of `kind` that `values` does not have under that name.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    chosen = {name: values[name] for name in names if name not in own}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in chosen.items()}, **own)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings, keyed by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def identity(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that decide the result of a run, keyed by dotted name.

    Two configurations with the same identity may share a run folder. `UNHASHED` lists the fields that
    are left out.
    """
    return {
        name: value
        for name, value in flatten(plain(config)).items()
        if not any(name == field or name.startswith(field + ".") for field in UNHASHED)
    }


def validate(config: ConfigDict) -> None:
    """Checks the shared fields of a training job.

    Args:
        config: made from `base_config`.

    Raises:
        InputError: naming the field, its value and the allowed values.
    """
    for name in ("num_steps", "max_bad_steps", "data.batch_size", "save.every_steps"):
        _check_at_least(config, name, 1)
    for name in ("save.keep", "eval.every_steps", "log.every_steps", "data.num_threads"):
        _check_at_least(config, name, 1)
    for name in ("data.prefetch_batches", "optimizer.accumulate_steps"):
        _check_at_least(config, name, 1)
    for name in ("data.max_blank_tries", "optimizer.clip_norm"):
        _check_at_least(config, name, 0)
    _check_at_least(config, "optimizer.weight_decay", 0)
    for name in ("label_sections", "min_labelled"):
        if name in config.data:
            _check_at_least(config, f"data.{name}", 0)
    parse_steps(config.profile_steps)
    # A Philox key is two unsigned numbers of 64 bits; a JAX seed is one of 32 bits on most devices.
    _check_range("seed", config.seed, 0 <= config.seed < 2**32, "0 to 2^32 - 1")
    fixed = config.optimizer.fixed_statistics
    _check_range("optimizer.fixed_statistics", fixed, 0 <= fixed < 1, "from 0, below 1")
    rate = config.optimizer.learning_rate
    _check_range("optimizer.learning_rate", rate, rate > 0, "above 0")
    final = config.optimizer.final_learning_rate
    fine = 0 <= final <= rate or config.optimizer.schedule != "cosine"
    _check_range("optimizer.final_learning_rate", final, fine, f"0 to learning_rate={rate}")
    decay = config.optimizer.ema_decay
    _check_range("optimizer.ema_decay", decay, 0 <= decay < 1, "in [0, 1)")
    layers = config.optimizer.layer_decay
    _check_range("optimizer.layer_decay", layers, 0 < layers <= 1, "in (0, 1]")
    warmup = config.optimizer.warmup_fraction
    _check_range("optimizer.warmup_fraction", warmup, 0 <= warmup < 1, "in [0, 1)")
    betas = config.optimizer.betas
    fine = len(betas) == 2 and all(0 <= b < 1 for b in betas)
    _check_range("optimizer.betas", betas, fine, "two numbers in [0, 1)")
    part = config.data.label_fraction
    _check_range("data.label_fraction", part, 0 < part <= 1, "in (0, 1]")
    _check_choice("optimizer.name", config.optimizer.name, OPTIMIZERS)
    _check_choice("optimizer.schedule", config.optimizer.schedule, SCHEDULES)
    _check_choice("model.dtype", config.model.dtype, DTYPES)
    _check_choice("data.pad", config.data.pad, ("error", "reflect"))
    _check_choice("save.best_mode", config.save.best_mode, ("max", "min"))
    check_triple("data.crop_size", config.data.crop_size, "voxels")
    if len(config.data.voxel_nm):
        check_triple("data.voxel_nm", config.data.voxel_nm, "nm")
    axes = {axis: config.mesh[axis] for axis in ("data", "fsdp", "spatial")}
    if any(size < 1 and size != -1 for size in axes.values()):
        raise InputError(
            f"mesh={axes}: each axis needs 1 or more devices, or -1 for all that remain"
        )
    if not config.data.volumes:
        raise InputError(
            "data.volumes is empty; give what to train on, for example "
            "--config.data.volumes='a.h5:raw[0:160]; b.zarr'"
        )


def parse_steps(text: str) -> tuple[int, int]:
    """Returns the first step of `profile_steps` and the step after the last; (0, 0) for ''.

    Raises:
        InputError: if the text is not FROM:TO.
    """
    if not text:
        return 0, 0
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise InputError(f"profile_steps={text}: must be FROM:TO, steps as in a slice: 100:105")
    return int(first), int(end)


def field(config: ConfigDict, name: str) -> Any:
    """Returns a field by its dotted name."""
    value: Any = config
    for part in name.split("."):
        value = value[part]
    return value


def _check_at_least(config: ConfigDict, name: str, least: int) -> None:
    value = field(config, name)
    if value < least:
        raise InputError(f"{name}={value}: must be at least {least}")


def _check_range(name: str, value: Any, fine: bool, wanted: str) -> None:
    if not fine:
        raise InputError(f"{name}={value}: must be {wanted}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}='{value}' is unknown{nearest(str(value), choices)}")


def check_triple(name: str, value: Any, unit: str) -> None:
    """Checks that a field is three numbers above 0.

    Args:
        name: of the field.
        value: of the field.
        unit: of the numbers, for the error message.

    Raises:
        InputError: if it is anything else.
    """
    numbers = all(isinstance(size, int | float) for size in value)
    if len(value) != 3 or not numbers or any(size <= 0 for size in value):
        raise InputError(f"{name}={tuple(value)}: needs three positive numbers, z, y, x {unit}")
