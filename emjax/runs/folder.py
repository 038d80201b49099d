"""The run folder: which configuration it belongs to, whether it has room, and its text files.

This is for one process; training runs of several processes open the folder by `emjax.train.run_folder`.

- `config.json`: the configuration, its hash, the versions of the packages
- `results.json`: flat, metric -> number, written when the run is finished
- `metrics.jsonl`: one line for each time that metrics are logged (`emjax.train.metrics`)
- `checkpoints/`, `tensorboard/`, `plots/`
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any

from absl import logging
from etils import epath
from ml_collections import ConfigDict

from emjax.config import flatten, identity, plain
from emjax.errors import InputError
from emjax.escapes import unescape
from emjax.runs.disk import full_disk_explained
from emjax.runs.spec import package_versions
from emjax.runs.whole_file import write_whole

CONFIG_FILE = "config.json"
RESULTS_FILE = "results.json"
# Files and folders that a run writes, in the order in which they are deleted; nothing else in the run folder ever is.
# What says whose folder this is, and that its run is finished, goes last: a command that was killed while it deleted
# finds them again, and goes on deleting.
_OWN = (
    "checkpoints",
    "damaged_checkpoints",
    "tensorboard",
    "trackers",
    "wandb",
    "plots",
    "profile",
    "metrics.jsonl",
    "best.json",
    "trials.json",
    "trials.jsonl",
    "decoding.json",
    "objects.parquet",
    "contacts.parquet",
    "trees.csv",
    "suggestions.csv",
    "suggestions.json",
    "suspects.csv",
    "suspects.json",
    "report.html",
    "seconds.json",
    RESULTS_FILE,
    CONFIG_FILE,
)
# What separates addresses in a field, and an address from its keys.
_SEPARATORS = re.compile(r"[;|?\n]")


def config_hash(config: ConfigDict | Mapping[str, Any]) -> str:
    """Returns a hash of the fields that change the result (all but `config.UNHASHED`), as 16 hexadecimal digits."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_run_folder(workdir: str | os.PathLike[str], config: ConfigDict) -> epath.Path:
    """Makes the folder of a run, or opens an existing folder of the same configuration.

    May be called more than once. With `config.overwrite`, a finished run or one of another
    configuration is deleted first; an unfinished run of this configuration is continued, since a
    command that is repeated after an interruption must never delete what it saved.

    Args:
        workdir: local folder or `gs://` address.
        config: configuration of the run.

    Returns:
        The folder, with `config.json` written.

    Raises:
        InputError: if the folder belongs to another configuration or cannot be written.
        OSError: if the disk is full.
    """
    folder = locate_run_folder(workdir)
    with full_disk_explained(folder):
        _claim(folder, config)
    return folder


def is_finished(folder: str | os.PathLike[str], config: ConfigDict) -> bool:
    """Whether a run of this configuration is finished in a folder.

    Args:
        folder: run folder, which may not exist.
        config: configuration of the run.

    Raises:
        InputError: if the stored configuration cannot be read.
    """
    stored = epath.Path(folder) / CONFIG_FILE
    if not (stored.exists() and (epath.Path(folder) / RESULTS_FILE).exists()):
        return False
    return config_hash(_read_config(stored)) == config_hash(config)


def is_continued(folder: str | os.PathLike[str], config: ConfigDict) -> bool:
    """Whether a command with this configuration goes on with what is in a folder, which may not exist."""
    place = locate_run_folder(folder)
    stored = read_stored(place)
    if stored is None or not may_go_on(stored, config):
        return False
    return not (config.get("overwrite", False) and (place / RESULTS_FILE).exists())


def describe_changes(workdir: str | os.PathLike[str], config: ConfigDict) -> str:
    """Returns how a configuration differs from the one of a run folder, as 'FIELD: OLD -> NEW; ...'; '' if unknown.

    Args:
        workdir: run folder; it is not changed.
        config: configuration of the present command.
    """
    file = locate_run_folder(workdir) / CONFIG_FILE
    return _show_changes(_read_config(file), config) if file.exists() else ""


def read_stored(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the configuration that a folder was last used for; None where there is none that can be read."""
    try:
        return _read_config(epath.Path(folder) / CONFIG_FILE)
    except (InputError, OSError):
        return None


def may_go_on(stored: Mapping[str, Any], config: ConfigDict) -> bool:
    """Whether a configuration may take up the run of a folder.

    It may if all fields are equal that change the result. A training may also be given more steps, as far as those that
    it has taken are the first ones of the longer training, too: if no learning rate depends on `num_steps`.

    Args:
        stored: configuration of the folder.
        config: configuration of the present command.
    """
    changed = _changed_fields(stored, config)
    if changed != ["num_steps"]:
        return not changed
    schedule, warmup = config.optimizer.schedule, config.optimizer.warmup_fraction
    lasting = schedule == "paper" or (schedule == "constant" and warmup == 0)
    return lasting and config.num_steps > stored["num_steps"]


def has_begun(folder: str | os.PathLike[str]) -> bool:
    """Whether a training logged or saved anything in a folder."""
    folder = epath.Path(folder)
    checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
    saved = checkpoints.exists() and any(path.name.isdigit() for path in checkpoints.iterdir())
    return saved or (metrics.exists() and bool(metrics.read_text()))


def locate_run_folder(workdir: str | os.PathLike[str]) -> epath.Path:
    """Returns the absolute path of a run folder, since orbax writes only to absolute paths.

    Args:
        workdir: local folder, which may begin with `~`, or `gs://` address.
    """
    text = os.fspath(workdir)
    return epath.Path(text if "://" in text else os.path.abspath(os.path.expanduser(text)))


def check_space(folder: epath.Path, checkpoint_bytes: int, keep: int) -> None:
    """Checks that the disk can hold the checkpoints, before anything is compiled.

    Args:
        folder: folder of the run; remote folders are not checked.
        checkpoint_bytes: size of one checkpoint in bytes.
        keep: number of checkpoints kept; one more is written before the oldest is deleted.

    Raises:
        InputError: if there is too little space.
    """
    if "://" in os.fspath(folder):
        return
    free = shutil.disk_usage(folder).free
    needed = checkpoint_bytes * (keep + 1)
    if free < needed:
        raise InputError(
            f"{folder} has {free / 2**30:.1f} GiB free, {keep + 1} checkpoints need "
            f"{needed / 2**30:.1f} GiB; choose another --workdir or a smaller save.keep"
        )


def write_json(path: epath.Path, values: Any) -> None:
    """Writes a JSON file in one piece, so that nobody reads half of it."""
    write_whole(path, (json.dumps(values, indent=2, allow_nan=False) + "\n").encode())


def write_results(workdir: str | os.PathLike[str], results: Mapping[str, Any]) -> None:
    """Writes `results.json`: a flat mapping, without the numbers that could not be computed.

    Args:
        workdir: run folder.
        results: metric -> number (of Python or numpy) or None; None, NaN and infinity are left out.
    """
    numbers = {}
    for name, value in results.items():
        value = value.item() if hasattr(value, "item") else value
        if value is not None and math.isfinite(value):
            numbers[name] = value
    write_json(epath.Path(workdir) / RESULTS_FILE, numbers)


def read_results(workdir: str | os.PathLike[str]) -> dict[str, float]:
    """Returns the numbers of `results.json`; empty where there is none that can be read.

    Args:
        workdir: run folder.
    """
    try:
        found = json.loads((epath.Path(workdir) / RESULTS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _claim(folder: epath.Path, config: ConfigDict) -> None:
    """Makes the folder and writes its `config.json`, after checking that it may be used for this configuration."""
    _check_writable(folder)
    config_file = folder / CONFIG_FILE
    if config_file.exists():
        stored = _read_config(config_file)
        finished = (folder / RESULTS_FILE).exists()
        # A folder that holds nothing but a config.json is free: a command that was refused after this point left it.
        other = (finished or has_begun(folder)) and not may_go_on(stored, config)
        if other and not config.get("overwrite", False):
            raise InputError(_refusal(folder, stored, config))
        if config.get("overwrite", False) and (other or finished):
            own = _list_own(folder, config)
            logging.warning("overwrite: deleting the run in %s", folder)
            for path in own:
                path.rmtree() if path.is_dir() else path.unlink()
        elif finished and config_hash(stored) != config_hash(config):
            # A training that goes on for more steps is not finished; first, so that a kill in between is noticed.
            (folder / RESULTS_FILE).unlink()
    values = {
        "config": plain(config),
        "config_hash": config_hash(config),
        "versions": package_versions(),
    }
    write_json(config_file, values)


def _check_writable(folder: epath.Path) -> None:
    probe = folder / f".writable_{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"cannot write to {folder} ({reason}); choose another --workdir"
        ) from error


def _read_config(path: epath.Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not the config.json of a run; choose another --workdir"
        ) from error
    return stored


def _refusal(folder: epath.Path, stored: Mapping[str, Any], config: ConfigDict) -> str:
    """Returns the message that says which fields differ, and what to type instead."""
    message = (
        f"{folder} holds a run of another configuration ({_show_changes(stored, config)}); give "
        "another --workdir, or --config.overwrite=true to delete that run"
    )
    if _changed_fields(stored, config) == ["num_steps"]:
        # The learning-rate schedule spans num_steps, so a longer run differs from its first step
        # on.
        message += (
            "; its learning rates are spread over num_steps. To train its weights for longer, add "
            f"--config.init_from={folder} and give another --workdir"
        )
    return message


def _changed_fields(stored: Mapping[str, Any], config: ConfigDict) -> list[str]:
    """Returns the dotted names of fields that change the result and differ."""
    old, new = identity(stored), identity(config)
    return sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))


def _show_changes(stored: Mapping[str, Any], config: ConfigDict) -> str:
    """Returns 'FIELD: OLD -> NEW; ...' of the first four fields that differ."""
    old, new = identity(stored), identity(config)
    names = _changed_fields(stored, config)
    changes = [f"{n}: {_short(old.get(n))} -> {_short(new.get(n))}" for n in names[:4]]
    return "; ".join(changes) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _short(value: Any) -> str:
    """Leaves out the middle of a long value: addresses mostly differ in their file name, box or keys."""
    text = "absent" if value is None else str(value) or "''"
    return text if len(text) <= 60 else f"{text[:20]}...{text[-37:]}"


def _list_own(folder: epath.Path, config: ConfigDict) -> list[epath.Path]:
    """Lists what runs wrote in a folder and may be deleted; other files that the user put there stay.

    Raises:
        InputError: if something of it is a link to elsewhere, or is what this run is to read.
    """
    own = [folder / name for name in _OWN if os.path.lexists(folder / name)]
    if "://" in os.fspath(folder):
        return [path for path in map(folder.__truediv__, _OWN) if path.exists()]
    root = os.path.realpath(folder)
    for path in own:
        if os.path.islink(path):
            raise InputError(
                f"overwrite would delete {path}, a link to {os.path.realpath(path)}; delete the link yourself, or give "
                "another --workdir"
            )
    for name, value in flatten(plain(config)).items():
        for text in _SEPARATORS.split(value) if isinstance(value, str) else ():
            place = os.path.realpath(os.path.expanduser(unescape(text.strip())))
            inside = any(f"{place}/".startswith(f"{root}/{path.name}/") for path in own)
            if text.strip() and (inside or place == root) and os.path.exists(place):
                raise InputError(
                    f"overwrite would delete {text.strip()}, which {name} names; give another --workdir"
                )
    return own
