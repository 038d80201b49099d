"""The weights that the arms of a comparison start from, made of one file or run and written as runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from emjax.data.normalization import RULE
from emjax.errors import InputError
from emjax.jobs.transfer.arms import AS_IT_IS, Arm
from emjax.models.published import load_published
from emjax.runs.spec import RunSpec
from emjax.tasks.task import Params
from emjax.train.exported import is_exported
from emjax.train.weights import restore_params, write_params
from emjax.weights.inflate import inflate
from emjax.weights.read import read_arrays

# Fields that the configuration decides although a file or run has them, too.
_FREE = ("dtype", "skips", "out_channels", "remat", "upsampling", "groups", "activation", "taps")
# Fields in which the file or run decides: they change no shape.
_FOLLOWED = ("norm", "resampling", "input_mean", "input_deviation")
_KERNELS = ("slices", "stem_fill", "stem_scale", "kernel_depth", "kernel_fill")


class Start(NamedTuple):
    """Where an arm starts.

    Attributes:
        model: fields of its network.
        params: parameters of the encoder, or of all that the source has; None: the run is started from as it is.
        spec: description of `params`.
        run: the run to start from, where it is taken as it is.
    """

    model: dict[str, Any]
    params: Params | None
    spec: RunSpec | None
    run: str = ""


def find_start(source: str, family: str, arm: Arm, model: Mapping[str, Any]) -> Start:
    """Reads the weights of an arm, with the depth that it needs.

    Args:
        source: file of published weights, or a run, or an export of one.
        family: of the file; '': found by its names.
        arm: which is not 'scratch'.
        model: fields of the comparison's network.

    Raises:
        InputError: if the source is neither, is another network than `model`, or does not have what the arm needs.
    """
    wanted = arm.model(model)
    path = Path(arm.weights or source)
    if is_run(path):
        return _of_run(path, arm, wanted)
    fields = {name: wanted[name] for name in _KERNELS if name in wanted}
    published = load_published(read_arrays(path), fields, family)
    wanted = _followed(wanted, published.model, f"{path} ({published.family})")
    config = {"model": wanted, "source": str(path)}
    spec = RunSpec(job="transfer", config=config, normalization=RULE)
    return Start(wanted, {"backbone": published.params}, spec)


def is_run(path: Path) -> bool:
    """Whether weights are those of a run or an export, not of a published file."""
    return is_exported(path) or (
        path.is_dir() and any((path / n).exists() for n in ("checkpoints", "params"))
    )


def write_start(folder: Path, start: Start) -> str:
    """Writes the weights of an arm unless they are there, and returns what `init_from` takes."""
    if start.params is None or start.spec is None:
        return start.run
    done = folder / "done"
    if not done.exists():
        write_params(epath.Path(folder), start.params, start.spec)
        done.write_text("")
    return str(folder)


def _of_run(path: Path, arm: Arm, wanted: dict[str, Any]) -> Start:
    """Takes a run as it is, or gives its first kernel, of one section, a depth."""
    weights = restore_params(path)
    has = dict(weights.spec.config.get("model", {}))
    if arm.start == AS_IT_IS:
        wanted |= {name: has[name] for name in _KERNELS if name in wanted and name in has}
        return Start(_followed(wanted, has, str(path)), None, None, str(path.absolute()))
    wanted = _followed(wanted, has, str(path))
    for name in ("slices", "kernel_depth"):
        if has.get(name, 1) != 1:
            raise InputError(
                f"source={path} has model.{name}={has[name]} already, and the arm '{arm.name}' gives a network of one "
                f"section its depth; use the arm '{AS_IT_IS}', or import the file anew with model.{name}=1"
            )
    if wanted.get("kernel_depth", 1) != 1:
        raise InputError(
            f"model.kernel_depth={wanted['kernel_depth']}: of a run, only the first kernel is given a depth; give the "
            "file that it was imported from as source, or model.kernel_depth=1"
        )
    fill = wanted["stem_fill"]
    if fill not in ("center", "average"):
        raise InputError(
            f"the arm '{arm.name}' needs colours, which source={path} has added up; give the file that it was imported "
            "from as source, or use 'center' and 'average'"
        )
    params = dict(weights.params["backbone"])
    params["stem"] = _deepened(params["stem"], wanted["slices"], fill)
    if weights.spec.job == "import_weights":
        # It has no trained decoder: each seed makes one of its own, the same in all arms.
        params = {n: p for n, p in params.items() if not n.startswith(("decoder", "head"))}
    config = {"model": wanted, "source": str(path)}
    spec = RunSpec(
        job="transfer", config=config, voxel_nm=weights.spec.voxel_nm, normalization=RULE
    )
    return Start(wanted, {"backbone": params}, spec)


def _deepened(tree: Mapping[str, Any], depth: int, fill: str) -> dict[str, Any]:
    """Returns the parameters of a stem whose kernels `[1, y, x, i, o]` became `depth` sections deep."""
    new: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            new[name] = _deepened(value, depth, fill)
        elif name == "kernel" and value.ndim == 5:
            new[name] = inflate(np.asarray(value)[0], depth, fill, colour=False)
        else:
            new[name] = value
    return new


def _followed(wanted: dict[str, Any], has: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Returns the arm's network with the fields in which the weights decide; raises where it is another network."""
    skipped = (*_FREE, *_FOLLOWED, *_KERNELS)
    for name, value in has.items():
        if name in skipped or name.startswith("decoder") or name not in {"name", *wanted}:
            continue
        given = wanted.get(name)
        if _plain(given) != _plain(value):
            raise InputError(
                f"{what} has model.{name}={value}, and this comparison {given}; choose the preset of that network, as "
                "in configs/transfer.py:mitochondria,dinov2_small"
            )
    return wanted | {name: has[name] for name in _FOLLOWED if has.get(name) not in (None, "")}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
