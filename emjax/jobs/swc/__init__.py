"""Checks and measures skeletons in SWC files; mends, prunes, smooths, resamples and converts them."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ml_collections import ConfigDict

from emjax.errors import InputError
from emjax.jobs.swc.settings import Settings
from emjax.runs.folder import RESULTS_FILE, open_run_folder, write_results
from emjax.skeletons.branches import measure_trees
from emjax.skeletons.shaping import join, prune, resample, smooth
from emjax.skeletons.skeleton import Skeleton
from emjax.skeletons.swc import CheckedSwc, check_swc, find_swc, log_problems, write_swc
from emjax.skeletons.unit import Unit


def run(config: ConfigDict, workdir: str | os.PathLike[str]) -> int:
    """Checks SWC files as configured, writes what was asked for, and `results.json` to `workdir`.

    Args:
        config: as made by `configs/swc.py`.
        workdir: run folder.

    Returns:
        Exit status: 0 done.

    Raises:
        InputError: if the configuration or a file cannot work; nothing is written then.
    """
    settings = Settings.from_config(config)
    files = find_swc(settings.input, "input")
    outputs = _outputs(settings, files)
    checked = [check_swc(file, settings.repair) for file in files]
    made = [_shaped(one.skeleton, settings) for one in checked]
    folder = open_run_folder(workdir, config)
    for one in checked:
        log_problems(one, settings.repair)
    unit, to_unit = settings.units
    results: Counter[str] = Counter()
    total = 0.0
    # Shapes are measured in lengths where these are known: voxels may be no cubes.
    known = unit.nm is not None or settings.voxel_size is not None
    name = "length_nm" if known else "length_voxels"
    lines = []
    for file, one, skeleton, output in zip(files, checked, made, outputs, strict=True):
        shape = measure_trees(unit.in_nm(skeleton, settings.voxel_size) if known else skeleton)
        length = shape.pop("length")
        results.update({k: int(v) for k, v in shape.items() if k != "max_branch_order"})
        total += length
        highest = max(results["max_branch_order"], int(shape["max_branch_order"]))
        results["max_branch_order"] = highest
        lines.append(
            _line(
                file, one, shape, f"{length / 1000:,.4g} um" if known else f"{length:,.4g} voxels"
            )
        )
        if output is not None:
            written = _converted(skeleton, unit, to_unit, settings)
            write_swc(output, written, to_unit, [f"made of {file.name} by emjax"])
    results["problems"] = sum(len(one.problems) for one in checked)
    write_results(folder, {"files": len(files), **results, name: total})
    if settings.output:
        lines.append(f"skeletons    {settings.output}")
    lines.append(f"results      {Path(os.fspath(folder)) / RESULTS_FILE}")
    print("\n".join(lines), flush=True)
    return 0


def _shaped(skeleton: Skeleton, settings: Settings) -> Skeleton:
    """Returns the trees that are written, in the unit of the input."""
    skeleton = join(skeleton, settings.join)
    if settings.prune:
        skeleton = prune(skeleton, settings.prune)
    skeleton = smooth(skeleton, settings.smooth)
    return resample(skeleton, settings.resample) if settings.resample else skeleton


def _converted(skeleton: Skeleton, unit: Unit, to_unit: Unit, settings: Settings) -> Skeleton:
    if unit == to_unit:
        return skeleton
    if to_unit.nm is None:
        return unit.in_voxels(skeleton, settings.voxel_size)
    return to_unit.from_nm(unit.in_nm(skeleton, settings.voxel_size))


def _outputs(settings: Settings, files: list[Path]) -> list[Path | None]:
    """Returns the file that each skeleton is written to; refuses what exists."""
    if not settings.output:
        return [None] * len(files)
    output = Path(os.path.expanduser(settings.output))
    if len(files) > 1:
        if output.suffix.lower() == ".swc":
            raise InputError(
                f"output={settings.output}: the input is {len(files)} files; give a folder, as in output=mended"
            )
        found = [output / file.name for file in files]
    else:
        if output.suffix.lower() != ".swc":
            raise InputError(f"output={settings.output} must end in .swc")
        found = [output]
    for file, place in zip(files, found, strict=True):
        if place.exists() and place.samefile(file):
            raise InputError(f"output={settings.output} is the input {file}; give another")
        if place.exists() and not settings.overwrite:
            raise InputError(
                f"{place} exists; give --config.overwrite=true to replace it, or another output"
            )
    return [*found]


def _line(file: Path, checked: CheckedSwc, shape: dict[str, float], length: str) -> str:
    counts = Counter(problem.kind for problem in checked.problems)
    said = ", ".join(f"{count:,} with {kind}" for kind, count in counts.items())
    return (
        f"{file.name}: {shape['points']:,} points, {shape['trees']:,} trees, {shape['branch_points']:,} branch points, "
        f"{shape['tips']:,} tips, {length}; lines to look at: {said or 'none'}"
    )
