"""Query against random choice at equal budget, on labels that exist and are taken to be drawn as they are asked for.

    python benchmarks/suggest.py --workdir runs/suggest_benchmark --features runs/pretrain \
        --volumes 'a.h5:raw[0:96]|a.h5:mito[0:96]' --first '0:16' \
        --validation 'a.h5:raw[100:120]|a.h5:mito[100:120]' --test 'a.h5:raw[124:165]|a.h5:mito[124:165]' \
        --size 4,96,96 --budgets 4,8,16 [--config.num_steps=400 ...]

Every seed begins with the sections `--first` of the volume. For each arm and each further budget it chooses boxes by
the last network of that arm and seed (`query`: configs/suggest.py; `uncertain`: the same without kinds of tissue, the
most uncertain boxes; `random`: any boxes), gives the first sections and the chosen boxes to finetuning, and scores the
network that was best on the validation part on the test part. All steps, crops and rates are equal; boxes that are
chosen once stay. Each step is a plain command, so a killed benchmark goes on where it stopped. Prints a Markdown table,
every seed listed, with paired differences from `random`. No part of the volume is both chosen from and scored.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from emjax.annotation.candidates import Candidates
from emjax.geometry.box import Box
from emjax.volumes.address import Address
from emjax.volumes.store import open_volume

SEEDS = (0, 1, 2, 3, 4)
ARMS = ("random", "uncertain", "query")
SCORES = ("foreground_iou", "dice")


def main() -> None:
    """Runs all arms and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/suggest_benchmark"))
    parser.add_argument("--config", default="configs/finetune.py:mitochondria")
    parser.add_argument("--features", default="", help="pretraining that describes tissue")
    for name in ("volumes", "validation", "test"):
        parser.add_argument(f"--{name}", required=True, metavar="IMAGE|LABELS")
    parser.add_argument("--first", required=True, help="sections of the volume, as in 0:16")
    parser.add_argument("--size", default="4,96,96", help="z, y, x voxels of a box")
    parser.add_argument("--budgets", default="4,8,16", help="numbers of boxes, ascending")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    arguments, overrides = parser.parse_known_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    budgets = [int(part) for part in arguments.budgets.split(",")]
    scores: dict[tuple[str, int], list[dict[str, float]]] = {}
    for seed in SEEDS[: arguments.seeds]:
        first = _finetune(
            arguments, arguments.workdir / f"seed{seed}" / "first", seed, [], overrides
        )
        for arm in ARMS:
            run, boxes = first, []
            for budget in budgets:
                folder = arguments.workdir / f"seed{seed}" / f"{arm}{budget}"
                boxes = boxes + _choose(
                    arguments, arm, folder, run, seed, budget - len(boxes), boxes
                )
                run = _finetune(arguments, folder, seed, boxes, overrides)
                scores.setdefault((arm, budget), []).append(_test(arguments, run))
    lines = [f"Common options: `{shlex.join(overrides)}`", "", *_table(scores, budgets)]
    text = "\n".join(lines) + "\n"
    (arguments.workdir / "suggest.md").write_text(text)
    sys.stdout.write(text)


def _choose(
    arguments: argparse.Namespace,
    arm: str,
    folder: Path,
    run: Path,
    seed: int,
    count: int,
    labelled: list[str],
) -> list[str]:
    """Returns boxes in the file, as text, and remembers them."""
    remembered = folder.parent / f"{folder.name}_boxes.json"
    if remembered.exists():
        return json.loads(remembered.read_text())
    image = arguments.volumes.split("|")[0]
    known = [_part(image, arguments.first), *(_boxed(image, box) for box in labelled)]
    size = tuple(int(part) for part in arguments.size.split(","))
    if arm == "random":
        chosen = _at_random(image, known, size, count, seed)
    else:
        chosen = _by_command(arguments, arm, folder, run, known, count)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(json.dumps(chosen))
    return chosen


def _at_random(
    image: str, known: list[str], size: tuple[int, ...], count: int, seed: int
) -> list[str]:
    """Draws among the boxes that the command would choose from."""
    volume = open_volume(image)
    candidates = Candidates.covering(Box((0, 0, 0), volume.size), size, "size")
    taken = [open_volume(address).box for address in known]
    places = [block.core.translate(volume.box.start) for block in candidates.grid]
    free = [str(box)[1:-1] for box in places if not any(box.overlaps(t) for t in taken)]
    # Another draw for each number of boxes that are there, the same on every machine.
    rng = np.random.default_rng([seed, len(known)])
    return [free[int(index)] for index in rng.permutation(len(free))[:count]]


def _by_command(
    arguments: argparse.Namespace, arm: str, folder: Path, run: Path, known: list[str], count: int
) -> list[str]:
    image = arguments.volumes.split("|")[0]
    place = folder.parent / f"{folder.name}_suggest"
    fields = {
        "checkpoint": run,
        "features": arguments.features,
        "input": image,
        "labelled": ";".join(known),
        "size": arguments.size,
        # All boxes, of which the most uncertain ones are taken.
        "budget": count if arm == "query" else 10**6,
        "share": 0.5 if arm == "query" else 1.0,
    }
    _run("configs/suggest.py", place, fields)
    with (place / "suggestions.csv").open() as file:
        rows = list(csv.DictReader(file))
    if arm == "uncertain":
        rows = sorted(rows, key=lambda row: -float(row["uncertainty"]))[:count]
    return [",".join(f"{row[f'{a}0']}:{row[f'{a}1']}" for a in "zyx") for row in rows]


def _part(address: str, sections: str) -> str:
    """Returns the first sections of a volume, counted from its own beginning."""
    volume = open_volume(address)
    box = Box.from_text(sections, volume.size).translate(volume.box.start)
    return _boxed(address, str(box)[1:-1])


def _boxed(address: str, box: str) -> str:
    return str(Address.parse(address).with_box(box))


def _finetune(
    arguments: argparse.Namespace, folder: Path, seed: int, boxes: list[str], overrides: list[str]
) -> Path:
    image, labels = arguments.volumes.split("|")
    pairs = [f"{_part(image, arguments.first)}|{_part(labels, arguments.first)}"]
    pairs += [f"{_boxed(image, box)}|{_boxed(labels, box)}" for box in boxes]
    fields = {
        "seed": seed,
        "init_from": arguments.features,
        "data.volumes": ";".join(pairs),
        "eval.volumes": arguments.validation,
    }
    _run(arguments.config, folder, fields, overrides)
    return folder


def _test(arguments: argparse.Namespace, run: Path) -> dict[str, float]:
    image, labels = arguments.test.split("|")
    prediction, mask = run / "test_prediction.zarr", run / "test_mask.zarr"
    _run(
        "configs/predict.py",
        run / "predict",
        {"checkpoint": run, "input": image, "output": prediction},
    )
    segment = {"input": prediction, "output": mask, "method": "components"}
    _run("configs/segment.py", run / "segment", segment | {"settings": "threshold=0.5&min_size=0"})
    evaluate = {"segmentation": mask, "labels": labels, "kind": "semantic"}
    _run("configs/evaluate.py", run / "evaluate", evaluate)
    return json.loads((run / "evaluate" / "results.json").read_text())


def _run(
    config: str, folder: Path, fields: Mapping[str, object], overrides: Sequence[str] = ()
) -> None:
    if (folder / "results.json").exists():
        return
    command = [sys.executable, "-m", "emjax.main", "--config", config, "--workdir", str(folder)]
    command += [f"--config.{name}={value}" for name, value in fields.items()] + list(overrides)
    print(shlex.join(command), flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)


def _table(scores: dict[tuple[str, int], list[dict[str, float]]], budgets: list[int]) -> list[str]:
    lines = ["| boxes | arm | " + " | ".join(f"{s}, mean (each seed)" for s in SCORES) + " |"]
    lines.append("|---" * (len(SCORES) + 2) + "|")
    for budget in budgets:
        for arm in ARMS:
            cells = []
            for score in SCORES:
                each = [found[score] for found in scores[arm, budget]]
                listed = ", ".join(f"{value:.3f}" for value in each)
                cells.append(f"{np.mean(each):.3f} ({listed})")
            lines.append(f"| {budget} | {arm} | " + " | ".join(cells) + " |")
    lines += ["", "Paired differences from 'random' on the test part, mean (each seed):"]
    for budget in budgets:
        for arm in ARMS[1:]:
            pairs = zip(scores[arm, budget], scores["random", budget], strict=True)
            each = [a[SCORES[0]] - b[SCORES[0]] for a, b in pairs]
            listed = ", ".join(f"{value:+.3f}" for value in each)
            lines.append(f"- {budget} boxes, {arm}: {SCORES[0]} {np.mean(each):+.3f} ({listed})")
    return lines


if __name__ == "__main__":
    main()
