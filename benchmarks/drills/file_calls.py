"""Breaks each call of a job that changes a file, one at a time, and gives the same command again.

A library that is loaded before the others counts the calls below a folder, and kills the process before the n-th of
them, or lets it fail: because the disk is full from then on, or once, with an input/output error. The process imports
emjax once and is copied (`os.fork`) for each try, so that a try takes a fraction of a second.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
FAULTS = {"SIGKILL": 0, "ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


@dataclasses.dataclass(frozen=True)
class Job:
    """A command that is drilled; its paths are relative to the folder of the drill.

    Attributes:
        config: name of the config file.
        fields: fields of the configuration.
        outputs: addresses of volumes, and paths of files in JSON, that must be as after an undisturbed run.
        before: fields of a command that is run before, whose output the drilled one replaces; empty: none.
    """

    config: str
    fields: Mapping[str, str]
    outputs: Sequence[str]
    before: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def command(self, fields: Mapping[str, str]) -> list[str]:
        """Returns the arguments of the command."""
        given = [f"--config.{name}={value}" for name, value in fields.items()]
        return ["--config", f"configs/{self.config}.py", "--workdir", "work/run", *given]


_CONVERT = {"input": "em.zarr", "block_size": "8,16,16", "chunk": "4,8,8", "shard": "8,16,16"}
_SEGMENT = {"input": "affinities.zarr", "output": "work/ids.zarr", "block_size": "8,16,16"}
_SEGMENT |= {"fragment_size": "8,16,16"}
_OLD, _NEW = {"box": "0:4,:,:"}, {"overwrite": "true"}
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
        ["work/run/results.json"],
    ),
    "objects": Job(
        "objects", {"input": "ids.zarr", "block_size": "4,16,16"}, ["work/run/results.json"]
    ),
    "tune": Job(
        "tune",
        {"input": "affinities.zarr", "labels": "ids.zarr", "grid": "threshold=0.3,0.5"},
        ["work/run/decoding.json", "work/run/results.json"],
    ),
    "view": Job(
        "view",
        {"volumes": "em.zarr", "png": "work/p.png", "serve": "false"},
        ["work/run/results.json"],
    ),
}
# Figures of a run that its interruption changes.
_OF_TIME = ("_per_s", "_s", "peak_rss_bytes", "blocks_resumed")


def build(folder: Path) -> Path | None:
    """Compiles the library; None where there is no C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "file_calls.so"
    flags = ["-shared", "-fPIC", "-O1", "-w"]
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def forked(work: Callable[[], int], log: Path) -> int:
    """Runs a function in a copy of this process; returns its exit status, negative for a signal."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 70
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        status = work()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


class Drill:
    """One job in one folder.

    Args:
        folder: that is made and becomes the working folder.
        library: what `build` returned, with which this process was started.
        job: the job.
    """

    def __init__(self, folder: Path, library: Path, job: Job) -> None:
        self.folder, self.job, self.log = folder, job, folder / "log.txt"
        self._library = ctypes.CDLL(str(library))
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "work").mkdir(parents=True)
        os.chdir(folder)
        assert forked(_make_inputs, self.log) == 0, self.log.read_text()
        if job.before:
            assert self.run(fields=job.before)[0] == 0, self.log.read_text()
        shutil.copytree("work", "before", symlinks=True)
        status, self.calls = self.run()
        assert status == 0, self.log.read_text()
        assert forked(lambda: _save(job.outputs), self.log) == 0, self.log.read_text()

    def run(
        self, number: int = 0, error: int = 0, fields: Mapping[str, str] | None = None
    ) -> tuple[int, int]:
        """Gives the command; returns its exit status, and how many calls it made where none was broken."""
        from emjax import main

        counted = self.folder / "calls.txt"

        def work() -> int:
            self._library.drill_arm(f"{self.folder}/work".encode(), ctypes.c_long(number), error)
            status = main.main(self.job.command(self.job.fields if fields is None else fields))
            calls = self._library.drill_calls()
            self._library.drill_arm(b"", ctypes.c_long(0), 0)
            counted.write_text(str(calls))
            return status

        status = forked(work, self.log)
        return status, int(counted.read_text()) if not number else 0

    def break_call(self, number: int, error: int) -> str:
        """Breaks a call, and gives the command again; returns what was wrong, '' if nothing was."""
        shutil.rmtree("work")
        shutil.copytree("before", "work", symlinks=True)
        first, _ = self.run(number, error)
        said = self.log.read_text()
        if error == 0 and first != -9:
            return f"exit {first} where it was killed"
        # Writers of HDF5 and TensorStore print traces of their own before the line.
        told = first == 75 and ("no room on the disk" in said or "disk is full" in said)
        if error == errno.ENOSPC and first != 0 and not told:
            return f"exit {first} with a full disk: {said[-300:]}"
        again, _ = self.run()
        if again != 0:
            return f"refused: exit {again}: {self.log.read_text()[-300:]}"
        if forked(lambda: _compare(self.job.outputs), self.log) != 0:
            return f"wrong: {self.log.read_text()[-300:]}"
        return ""


def _make_inputs() -> int:
    import numpy as np

    from emjax.volumes.create import create_volume

    rng = np.random.default_rng(0)
    shape = (8, 32, 32)
    create_volume("em.zarr", shape, np.uint8, (40, 10, 10), {}).write(
        rng.integers(1, 250, shape, dtype=np.uint8)
    ).result()
    z, y, x = np.indices(shape)
    ids = (z // 4 * 4 + y // 16 * 2 + x // 16 + 1).astype(np.uint64)
    create_volume("ids.zarr", shape, np.uint64, (40, 10, 10), {}).write(ids).result()
    edges = [np.roll(ids, 1, axis) == ids for axis in range(3)]
    noisy = np.clip(np.stack(edges) * 200 + rng.integers(0, 55, (3, *shape)), 0, 255)
    about = {"targets": ["affinity"] * 3, "offsets": [[-1, 0, 0], [0, -1, 0], [0, 0, -1]]}
    about |= {"scale": 1 / 255, "checkpoint": "x"}
    create_volume("affinities.zarr", noisy.shape, np.uint8, (40, 10, 10), about).write(
        noisy.astype(np.uint8)
    ).result()
    return 0


def _read(address: str) -> object:
    if address.endswith(".json"):
        values = json.loads(Path(address).read_text())
        return {k: v for k, v in values.items() if not k.endswith(_OF_TIME)}
    from emjax.blocks.complete import refuse_incomplete
    from emjax.volumes.store import open_volume

    refuse_incomplete(address, "output")
    return open_volume(address).store.read().result()


def _save(outputs: Sequence[str]) -> int:
    import pickle

    Path("expected.pickle").write_bytes(pickle.dumps([_read(address) for address in outputs]))
    return 0


def _compare(outputs: Sequence[str]) -> int:
    import pickle

    import numpy as np

    for address, wanted in zip(
        outputs, pickle.loads(Path("expected.pickle").read_bytes()), strict=True
    ):
        found = _read(address)
        same = found == wanted if isinstance(wanted, dict) else np.array_equal(found, wanted)
        if not same:
            print(f"{address} is not as after an undisturbed run: {str(found)[:200]}")
            return 1
    return 0


def chosen(calls: int, most: int) -> list[int]:
    """Returns the numbers of the calls to break: all, or `most` of them, evenly spread with the first and the last."""
    if most <= 0 or calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + round(i * (calls - 1) / (most - 1)) for i in range(most)})


def start_with(library: Path, arguments: Sequence[str]) -> int:
    """Starts a script again with the library loaded; returns its exit status."""
    environment = os.environ | {"LD_PRELOAD": str(library), "JAX_PLATFORMS": "cpu"}
    return subprocess.run([sys.executable, *arguments], env=environment).returncode


def temporary() -> Path:
    """Returns a new folder for the library."""
    return Path(tempfile.mkdtemp(prefix="file-calls-"))
