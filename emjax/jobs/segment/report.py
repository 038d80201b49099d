"""What the job `segment` prints at its end."""

from __future__ import annotations

import os
from collections.abc import Mapping

from etils import epath

from emjax.runs.folder import RESULTS_FILE
from emjax.segmentation.passes import Plan
from emjax.volumes.address import Address


def class_lines(
    output: str,
    folder: str | os.PathLike[str],
    meaning: Mapping[int, str],
    results: Mapping[str, float | int],
    picture: str,
) -> str:
    """Returns which classes were mapped, where they are, and what can be done with them.

    Args:
        output: the class map.
        folder: of the run.
        meaning: id -> channel.
        results: as written.
        picture: path of the picture; '' if there is none.
    """
    address = Address(output)
    rate = results.get("voxels_per_s")
    shown = ", ".join(f"{number} {name}" for number, name in meaning.items())
    lines = [
        f"class map    {address}: {shown}{f'; {rate / 1e6:.3g} Mvoxel/s' if rate else ''}",
        f"results      {epath.Path(folder) / RESULTS_FILE}",
    ]
    if picture:
        lines.append(f"picture      {picture}")
    lines.append(
        "next         python -m emjax.main --config configs/evaluate.py --config.kind=semantic "
        f"--config.segmentation={address} --config.labels=LABELS"
    )
    return "\n".join(lines)


def closing_lines(
    output: str,
    folder: str | os.PathLike[str],
    plan: Plan,
    results: Mapping[str, float | int],
    picture: str,
) -> str:
    """Returns what was made, where it is, and what can be done with it.

    Args:
        output: the segmentation.
        folder: of the run.
        plan: of the segmentation.
        results: as written.
        picture: path of the picture; '' if there is none.
    """
    address = Address(output)
    rate = results.get("voxels_per_s")
    speed = f", {rate / 1e6:.3g} Mvoxel/s" if rate else ""
    lines = [
        f"segmentation {address}: {results['objects']:,} objects by {plan.method}, "
        f"{results['voxels']:,} voxels{speed}",
        f"graph        {plan.graph} (another threshold: --config.graph={plan.graph} and another output)",
        f"results      {epath.Path(folder) / RESULTS_FILE}",
    ]
    if picture:
        lines.append(f"picture      {picture}")
    lines.append(
        "next         python -m emjax.main --config configs/evaluate.py "
        f"--config.segmentation={address} --config.labels=LABELS"
    )
    return "\n".join(lines)
