"""Runs of the real command for the fault drills: how they are started, watched and ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import run_states
import tensorstore as ts
from scipy import ndimage

REPOSITORY = Path(__file__).resolve().parents[2]
INJECTED = Path(__file__).with_name("injected.py")
# A machine that others use may take minutes to compile.
TIMEOUT_S = 1200
# The smallest network that the command trains, saving all the time. Each logged step is a line that can be counted.
FIELDS = {
    "mesh.data": 1,
    "data.batch_size": 2,
    "data.crop_size": "2,16,16",
    "augment.max_offset": "1,2,2",
    # Each kind of defect is a part of the program.
    "augment.strong_weights.fold": 0,
    "augment.strong_weights.section_blur": 0,
    "augment.strong_weights.sobel": 0,
    "augment.strong_weights.cutout": 0,
    "model.widths": "4,8",
    "loss.levels": "0",
    "loss.num_tokens": 8,
    "loss.size": 8,
    "loss.heads": 2,
    "eval.crops": 2,
    "eval.queries": 16,
    "eval.distractors": 7,
    "eval.exclusion_radius": "1,1,1",
    "eval.margin": "1,2,2",
    "eval.every_steps": 10**6,
    "log.every_steps": 1,
}
# More than the loader's cache of chunks has read after its first look: an outage is noticed.
VOLUME_SHAPE, CHUNK = (64, 512, 512), (8, 64, 64)
VOLUME = "volume.zarr"


class Running:
    """One process of a run, whose words go to a file."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=file, stderr=file
            )
        self.began = time.monotonic()

    def said(self) -> str:
        """Returns all that it said so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> bool:
        """Waits until it says something; false if it ended without.

        Raises:
            TimeoutError: if neither happens.
        """
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            ended = self.process.poll() is not None
            if re.search(pattern, self.said()):
                return True
            if ended:
                return False
            time.sleep(0.02)
        self.kill()
        raise TimeoutError(f"'{pattern}' was not said within {TIMEOUT_S} s: {self._log}")

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Waits for its end; returns its status, negative where it is a signal's."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"no end within {timeout_s} s: {self._log}") from None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if there is still a process."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def listens(self) -> bool:
        """Whether it has come so far that it handles SIGTERM, or has ended."""
        if self.process.poll() is not None:
            return True
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s+(\w+)", status)[1], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    def kill(self) -> None:
        """Kills it, and returns when it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def restored_step(self) -> int:
        """Returns the step that it went on from, 0 where it began."""
        found = re.search(r"going on from \S*/(\d+)", self.said())
        return int(found[1]) if found else 0

    def refusal(self) -> str:
        """Returns the line that explains its end; empty where there is none, or it is not the only and the last one."""
        lines = self.said().splitlines()
        ours = [line for line in lines if line.startswith("emjax: ")]
        return ours[0] if len(ours) == 1 and lines[-1] == ours[0] else ""


class Commands:
    """Starts the same run again and again.

    Args:
        workdir: holds the run folders, what they said, and their compiled programs.
        num_steps: of a run.
        save_steps: steps between two saves.
    """

    def __init__(self, workdir: Path, num_steps: int, save_steps: int) -> None:
        self.workdir = workdir.absolute()
        self.num_steps, self.save_steps = num_steps, save_steps
        self._logs = 0
        self._started: list[Running] = []
        (self.workdir / "logs").mkdir(parents=True, exist_ok=True)
        cache = {"JAX_COMPILATION_CACHE_DIR": str(self.workdir / "compiled")}
        # Also what compiles in a moment: there are many starts.
        cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        # Compiled in a third of the time; nothing here is about speed.
        self._environment = os.environ | cache | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        self._environment["JAX_PLATFORMS"] = "cpu"
        self._environment["PYTHONPATH"] = str(REPOSITORY)

    def start(
        self,
        folder: Path,
        *,
        volume: str = "",
        fault: str = "",
        before: Sequence[str] = (),
        cached: bool = True,
        **more,
    ) -> Running:
        """Starts the command on one process.

        Args:
            folder: of the run.
            volume: address of the folder that the volume lies in; '': on this disk.
            fault: to inject, as `injected.py` takes it.
            before: what stands before the command.
            cached: whether programs that an earlier start compiled are used.
            **more: flags of the command.
        """
        fields = FIELDS | {"num_steps": self.num_steps, "save.every_steps": self.save_steps}
        fields["data.volumes"] = f"{volume or self.workdir}/{VOLUME}?voxel_nm=40,12,12"
        program = [str(INJECTED), fault] if fault else ["-m", "emjax.main"]
        command = [*before, sys.executable, *program, "--config", "configs/pretrain.py:smoke"]
        command += ["--workdir", str(folder)]
        command += [f"--config.{name}={value}" for name, value in fields.items()]
        command += [f"--{name}={value}" for name, value in more.items()]
        self._logs += 1
        log = self.workdir / "logs" / f"{self._logs:03d}_{folder.name}.txt"
        environment = self._environment | ({} if cached else {"JAX_COMPILATION_CACHE_DIR": ""})
        self._started.append(Running(command, environment, log))
        return self._started[-1]

    def end(self) -> None:
        """Kills what a drill that failed left running."""
        for running in self._started:
            running.kill()

    def start_two(self, folder: Path) -> list[Running]:
        """Starts the two processes of a run on two devices."""
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        flags = {"config.mesh.data": 2, "coordinator": f"localhost:{port}", "num_processes": 2}
        return [self.start(folder, **flags, process_id=number) for number in range(2)]

    def make_volume(self) -> None:
        """Writes smooth noise, in chunks that are files of their own."""
        path = self.workdir / VOLUME
        if path.exists():
            return
        noise = np.random.default_rng(0).normal(size=VOLUME_SHAPE).astype(np.float32)
        noise = ndimage.gaussian_filter(noise, (0.5, 1.5, 1.5))
        voxels = np.clip(127.5 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)
        grid = {"name": "regular", "configuration": {"chunk_shape": CHUNK}}
        metadata = {"shape": VOLUME_SHAPE, "data_type": "uint8", "chunk_grid": grid}
        spec = {"driver": "zarr3", "kvstore": f"file://{path}.partial/", "metadata": metadata}
        ts.open(spec, create=True, delete_existing=True).result().write(voxels).result()
        path.with_name(f"{VOLUME}.partial").rename(path)


def recorded_step(folder: Path) -> int:
    """Returns the last step that a run recorded, 0 if none."""
    return max([line["step"] for line in run_states.read_record(folder)], default=0)


def half_saved(folder: Path) -> list[str]:
    """Returns checkpoints that were being written when a run ended."""
    root = folder / "checkpoints"
    names = [path.name for path in root.glob("*")] if root.exists() else []
    return [name for name in names if not name.isdigit()]


def newest_checkpoint(folder: Path) -> Path:
    """Returns the folder of the newest whole checkpoint."""
    return folder / "checkpoints" / str(run_states.checkpoint_steps(folder)[-1])
