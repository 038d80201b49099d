"""Packs what `gpu.py` needs on a machine without a network: wheels that are not there yet, and labelled volumes.

    python benchmarks/pack_gpu.py FOLDER [--volumes a.h5 b.h5] [--python 3.12] [--limit 64]

Afterwards, on that machine, in the repository:

    python3 -m pip install --no-index --no-deps --target site FOLDER/wheels/*.whl
    PYTHONPATH=site python3 benchmarks/gpu.py --data FOLDER/volumes --output OUT

It is assumed to have jax, flax, optax, orbax, tensorstore, torch and the usual scientific packages (`ASSUMED`). Git
should ignore FOLDER: add it to .git/info/exclude.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Packages that such a machine has.
ASSUMED = frozenset(
    """
    absl-py aiohttp attrs click cloudpickle etils flax fsspec h5py humanize importlib-metadata jax jaxlib jinja2
    llvmlite markupsafe matplotlib ml-dtypes msgpack numba numpy optax orbax-checkpoint packaging pandas pillow protobuf
    psutil pyarrow python-dateutil pyyaml requests rich safetensors scikit-image scipy setuptools simplejson six
    sortedcontainers tensorstore tifffile toolz torch tqdm treescope typing-extensions urllib3 wrapt zipp
    """.split()
)
# Only for volumes in the cloud, pages and pictures: gpu.py does not import them.
NOT_NEEDED = frozenset({"gcsfs", "neuroglancer", "imagecodecs", "mrcfile", "nibabel", "pynrrd"})
_PLATFORMS = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")


def main() -> None:
    """Fills the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volumes", type=Path, nargs="*", default=())
    parser.add_argument("--python", default="3.12", help="of that machine")
    parser.add_argument("--limit", type=float, default=64, help="MiB in all")
    options = parser.parse_args()
    wheels, volumes = options.folder / "wheels", options.folder / "volumes"
    wheels.mkdir(parents=True, exist_ok=True)
    volumes.mkdir(exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(wheels),
    ]
    command += ["--only-binary=:all:", "--python-version", options.python, "--implementation", "cp"]
    for platform in (*(f"manylinux_{p}_x86_64" for p in _PLATFORMS), "manylinux2014_x86_64"):
        command += ["--platform", platform]
    subprocess.run([*command, *needed((HERE.parent / "requirements.txt").read_text())], check=True)
    for volume in options.volumes:
        shutil.copy(volume, volumes)
    size = sum(file.stat().st_size for file in options.folder.rglob("*") if file.is_file()) / 2**20
    print(f"{size:.1f} MiB in {options.folder}")
    if size > options.limit:
        raise SystemExit(f"more than {options.limit:g} MiB: leave out some --volumes")


def needed(requirements: str) -> list[str]:
    """Returns the requirements that the machine lacks, and what those require in turn, as pip takes them.

    Args:
        requirements: text of requirements.txt; what each requires is read from the packages installed here.
    """
    lines = [
        line.strip() for line in requirements.splitlines() if line.strip()[:1] not in ("", "#")
    ]
    wanted = {_name(line): line for line in lines}
    queue = [line for name, line in wanted.items() if name not in ASSUMED | NOT_NEEDED]
    found: dict[str, str] = {}
    while queue:
        line = queue.pop()
        name = _name(line)
        if name in found or not _installed(name):
            continue
        # Of the version that is installed here, which is known to work.
        found[name] = f"{name}=={importlib.metadata.version(name)}"
        for requirement in importlib.metadata.requires(name) or ():
            extra = re.search(r"extra == ['\"]([\w-]+)", requirement)
            asked = not extra or f"[{extra[1]}]" in line
            if asked and _name(requirement) not in ASSUMED | NOT_NEEDED:
                queue.append(requirement)
    return sorted(found.values())


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[._]", "-", match[0]).lower()


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
