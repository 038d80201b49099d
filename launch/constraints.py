"""Writes constraints.txt: the exact versions of all that emjax needs, for installations that are the same tomorrow.

    python launch/constraints.py PYTHON [PYTHON ...] > constraints.txt

Each PYTHON is the interpreter of an environment in which emjax and its tests work, one for each version of Python. Of
several, lines that differ carry the version of Python that they are for. Accelerators' own packages (libtpu, CUDA) are
not among them: JAX names those that fit it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements.txt"
# Run by each interpreter: follows what packages need, without their extras but those that are asked for.
_LIST = """
import json, platform, sys
from importlib import metadata
from packaging.requirements import Requirement
found, pending = {}, [(Requirement(line), "") for line in json.loads(sys.argv[1])]
while pending:
    wanted, extra = pending.pop()
    if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
        continue
    name = wanted.name.lower().replace("_", "-").replace(".", "-")
    extras = {"", *wanted.extras} - found.get(name, ("", set()))[1]
    if not extras:
        continue
    about = metadata.distribution(wanted.name)
    found[name] = (about.version, found.get(name, ("", set()))[1] | extras)
    pending += [(Requirement(line), extra) for line in about.requires or () for extra in extras]
print(json.dumps([platform.python_version_tuple()[:2], {n: v for n, (v, _) in found.items()}]))
"""


def requirements() -> list[str]:
    """Returns the lines of requirements.txt."""
    lines = map(str.strip, REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def installed(python: str) -> tuple[str, dict[str, str]]:
    """Returns the version of an interpreter, such as '3.12', and package -> version of all that emjax needs there."""
    command = [python, "-c", _LIST, json.dumps(requirements())]
    version, found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return ".".join(version), found


def merge(versions: dict[str, dict[str, str]]) -> list[str]:
    """Returns the lines of the file, from version of Python -> package -> version."""
    lines = []
    for name in sorted({name for found in versions.values() for name in found}):
        pins = {python: found.get(name) for python, found in versions.items()}
        if len(set(pins.values())) == 1:
            lines.append(f"{name}=={next(iter(pins.values()))}")
            continue
        for python, pin in pins.items():
            if pin:
                lines.append(f"{name}=={pin}; python_version == '{python}'")
    return lines


if __name__ == "__main__":
    print("# Exact versions, by launch/constraints.py: pip install -c constraints.txt -e .")
    print("\n".join(merge(dict(map(installed, sys.argv[1:])))))
