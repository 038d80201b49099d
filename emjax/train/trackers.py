"""Services that metrics of a training are sent to besides its run folder: Weights & Biases, MLflow, and others' own.

`log.to` names them; none is used unless it is named. `metrics.jsonl` stays the record of a run: a service that fails
while a run goes on is left out from then on, with one warning, and never ends the run.

Another package adds a service as an entry point of the group `emjax.trackers`: a function like `open_wandb`. It says
which module it needs by an attribute `needs`, if any.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from absl import logging
from etils import epath

from emjax.errors import InputError
from emjax.registry import Registry
from emjax.runs.whole_file import write_whole

TRACKERS = Registry(
    "tracker",
    "emjax.trackers",
    {"wandb": f"{__name__}:open_wandb", "mlflow": f"{__name__}:open_mlflow"},
)
# Ids of the run at the services, so that a run that goes on is one run there.
IDS_FOLDER = "trackers"
_FIELD = "log.to="


class Tracker(Protocol):
    """A service that a run is shown at."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Sends numbers, named 'group/metric', of a step."""
        ...

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Sends a picture, `[h, w, 3]` uint8."""
        ...

    def close(self) -> None:
        """Sends what is left, and ends the run there."""
        ...


Opener = Callable[[epath.Path, str, Mapping[str, Any]], Tracker]


def check_trackers(text: str) -> None:
    """Checks the field `log.to` before anything expensive.

    Args:
        text: names separated by ','; '': none.

    Raises:
        InputError: on an unknown name, naming the nearest; or if a package is missing, with the command that installs
            it.
    """
    for name in _names(text):
        needs = getattr(TRACKERS.find(name, where=_FIELD), "needs", name)
        if importlib.util.find_spec(needs) is None:
            raise InputError(
                f"log.to={name} needs the package {needs}, which is not installed: pip install 'emjax[{name}]', or "
                "leave log.to out"
            )


class Trackers:
    """The services of one run; does nothing where none is named."""

    def __init__(
        self, text: str, project: str, folder: epath.Path, config: Mapping[str, Any]
    ) -> None:
        """Opens them.

        Args:
            text: the field `log.to`.
            project: the field `log.project`: under which name runs are kept together there.
            folder: run folder.
            config: configuration of the run, as plain values.

        Raises:
            InputError: if a service refuses; says what it said.
        """
        self._open: dict[str, Tracker] = {}
        for name in _names(text):
            try:
                self._open[name] = TRACKERS.find(name, where=_FIELD)(folder, project, config)
            # The services have errors of many kinds, and all of them are mistakes of the set-up.
            except Exception as error:
                self.close()
                raise InputError(
                    f"log.to={name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}; mend that, or leave "
                    "log.to out"
                ) from error

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Sends numbers, named 'group/metric', of a step."""
        self._each(lambda tracker: tracker.scalars(values, step))

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Sends a picture, `[h, w, 3]` uint8."""
        self._each(lambda tracker: tracker.image(name, image, step))

    def close(self) -> None:
        """Ends the run at all services."""
        self._each(lambda tracker: tracker.close())
        self._open = {}

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                call(tracker)
            # Whatever goes wrong there is no reason to lose a training.
            except Exception as error:
                del self._open[name]
                logging.warning(
                    "log.to=%s failed, and gets nothing from now on; metrics.jsonl has everything: %s: %s",
                    name,
                    type(error).__name__,
                    " ".join(str(error).split())[:300],
                )


class _Wandb:
    def __init__(self, run: Any, image: Any) -> None:
        self._run, self._image = run, image

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        # Their own counter of steps refuses to go back, as a run does that goes on from a checkpoint.
        self._run.log({**values, "step": step})

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self._run.log({name: self._image(image), "step": step})

    def close(self) -> None:
        self._run.finish()


def open_wandb(folder: epath.Path, project: str, config: Mapping[str, Any]) -> Tracker:
    """Opens a run at Weights & Biases; `WANDB_MODE=offline` keeps it in the run folder, for `wandb sync`.

    Args:
        folder: run folder.
        project: of the service.
        config: shown with the run.
    """
    import wandb  # pyright: ignore[reportMissingImports]  # an extra

    run = wandb.init(
        project=project,
        id=_run_id(folder, "wandb", lambda: _new_id(folder)),
        resume="allow",
        name=folder.name,
        dir=os.fspath(folder) if "://" not in str(folder) else None,
        config=dict(config),
    )
    run.define_metric("*", step_metric="step")
    return _Wandb(run, wandb.Image)


class _MLflow:
    def __init__(self, client: Any, run_id: str, metric: Any) -> None:
        self._client, self._id, self._metric = client, run_id, metric

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        self._client.log_image(self._id, image, artifact_file=f"{name}/{step:08d}.png")

    def close(self) -> None:
        self._client.set_terminated(self._id)


def open_mlflow(folder: epath.Path, project: str, config: Mapping[str, Any]) -> Tracker:
    """Opens a run at the MLflow that `MLFLOW_TRACKING_URI` names.

    Args:
        folder: run folder.
        project: name of the experiment.
        config: its fields become parameters of the run.
    """
    from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]  # an extra
    from mlflow.entities import Metric, Param  # pyright: ignore[reportMissingImports]

    client = MlflowClient()

    def make() -> str:
        found = client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else client.create_experiment(project)
        made = client.create_run(experiment, run_name=folder.name).info.run_id
        # A parameter holds 6000 characters at most.
        client.log_batch(made, params=[Param(k, str(v)[:6000]) for k, v in config.items()])
        return made

    return _MLflow(client, _run_id(folder, "mlflow", make), Metric)


def _run_id(folder: epath.Path, name: str, make: Callable[[], str]) -> str:
    """Returns the id of the run at a service: the one that it had, or a new one, which is remembered."""
    path = folder / IDS_FOLDER / name
    if path.exists():
        return path.read_text().strip()
    made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{made}\n".encode())
    return made


def _new_id(folder: epath.Path) -> str:
    """Returns letters that no other run has."""
    text = f"{socket.gethostname()} {folder} {time.time_ns()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
