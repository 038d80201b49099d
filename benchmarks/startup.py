"""How long a user waits: for the package, for the answer to a mistake, and for the first step of the main job.

    python benchmarks/startup.py [--quick] [--preset smoke] [--repeats 3]

Each is a process of its own, begun anew. The first training fills an empty compilation cache (`cold`), the others find
it full (`warm`); a step counts once its loss is written to the run folder. The default volume is made anew by each
run; `stored` is the same from a file, as with volumes of one's own.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report

_PATIENCE_S = 300.0
PROGRAMS = {
    "python": "pass",
    "import_emjax": "import emjax",
    "import_main": "import emjax.main",
    "import_jax": "import jax",
    "import_jobs_pretrain": "import emjax.jobs.pretrain",
}


def main() -> None:
    """Measures what the command line asks for."""
    parser = report.options(__doc__)
    parser.add_argument("--preset", default="", help="of configs/pretrain.py")
    options = parser.parse_args()
    repeats = options.repeats or (1 if options.quick else 5)
    preset = "smoke" if options.quick else options.preset
    written = report.Report("startup", options)
    for name, program in PROGRAMS.items():
        written.number(f"{name}_s", median(lambda p=program: run(["-c", p]), repeats), "s")
    wrong = ["-m", "emjax.main", "--config", "configs/pretrain.py", "--config.num_step=3"]
    written.number("mistake_s", median(lambda: run(wrong, status=2), repeats), "s")
    folder = Path(tempfile.mkdtemp())
    try:
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PLATFORMS": "cpu" if options.device == "cpu" else "cuda",
        }
        cold = first_step(folder, preset, environment)
        written.number("first_step_cold_s", cold, "s")
        warm = median(lambda: first_step(folder, preset, environment), repeats)
        written.number("first_step_warm_s", warm, "s")
        volume = store(folder)
        stored = median(lambda: first_step(folder, preset, environment, volume), repeats)
        written.number("first_step_warm_stored_s", stored, "s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    written.write()


def median(measure, repeats: int) -> float:
    """Median of several measurements; the first one, which fills the page cache, does not count."""
    measure()
    return statistics.median(measure() for _ in range(repeats))


def run(arguments: list[str], status: int = 0) -> float:
    """Seconds until a Python process ends, as it should.

    Raises:
        RuntimeError: if its exit status is another; with what it said.
    """
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=_repository(), capture_output=True)
    seconds = time.perf_counter() - began
    if done.returncode != status:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr.decode()}")
    return seconds


def store(folder: Path) -> str:
    """Writes the volume of the default preset to a file; returns its path."""
    from emjax.volumes.create import create_volume
    from emjax.volumes.store import open_volume

    volume = open_volume("synthetic://neurites?shape=32,256,256&voxel_nm=40,12,12")
    path = str(folder / "volume.zarr")
    voxels = volume.store.read().result()
    create_volume(path, voxels.shape, "uint8", volume.voxel_nm, {}).write(voxels).result()
    return path


def first_step(folder: Path, preset: str, environment: dict[str, str], volume: str = "") -> float:
    """Seconds from the command to its first step; the run is ended then.

    Raises:
        RuntimeError: if the run ends before, or takes more than five minutes.
    """
    workdir = folder / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    config = f"configs/pretrain.py:{preset}" if preset else "configs/pretrain.py"
    command = [sys.executable, "-m", "emjax.main", "--config", config]
    command += ["--workdir", str(workdir), "--config.log.every_steps=1"]
    command += [f"--config.data.volumes={volume}"] if volume else []
    metrics = workdir / "metrics.jsonl"
    log = folder / "log.txt"
    with log.open("w") as file:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=_repository(), env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            while not (metrics.exists() and metrics.stat().st_size):
                waited = time.perf_counter() - began
                if process.poll() is not None or waited > _PATIENCE_S:
                    raise RuntimeError(f"no step after {waited:.0f} s: {log.read_text()[-2000:]}")
                time.sleep(0.01)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


def _repository() -> Path:
    return Path(__file__).parents[1]


if __name__ == "__main__":
    main()
