"""Running the command in this process, and reading how it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from emjax import main

# Each kind of defect is a part of the program of a training: three are left here, tests of tasks have all.
FEW_DEFECTS = {
    f"augment.strong_weights.{kind}": 0 for kind in ("fold", "section_blur", "sobel", "cutout")
}


def run_command(config: str, workdir: Path, fields: Mapping[str, object]) -> int:
    """Runs a job; names of fields have '__' or dots between groups."""
    arguments = [f"--config.{name.replace('__', '.')}={value}" for name, value in fields.items()]
    return main.main(["--config", config, f"--workdir={workdir}", *arguments])


def read_refusal(capfd, config: str, workdir: Path, fields: Mapping[str, object]) -> str:
    """Runs a job that has to be refused: exit status 2, and one line besides what was logged."""
    capfd.readouterr()
    assert run_command(config, workdir, fields) == 2
    lines = capfd.readouterr().err.splitlines()
    ours = [line for line in lines if line.startswith("emjax: ")]
    logged = [line for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(ours) == 1 and len(lines) == 1 + len(logged), lines
    return ours[0]
