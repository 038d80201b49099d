"""What more labels would bring: reads finetunings with different amounts of labels, and draws their curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from emjax.annotation.learning_curve import LearningCurve, fit_curve
from emjax.config import nearest
from emjax.errors import InputError
from emjax.pictures.render import render
from emjax.runs.folder import CONFIG_FILE, RESULTS_FILE

# Multiples of the largest amount for which scores are foretold.
FORETOLD = (2, 4)
_LOSS = "val_loss"


class Scored(NamedTuple):
    """The trainings of a curve.

    Attributes:
        score: name of the score in results.
        amounts: of labels of each training.
        scores: of each training.
        curve: through them.
    """

    score: str
    amounts: tuple[float, ...]
    scores: tuple[float, ...]
    curve: LearningCurve


def read_curve(text: str, score: str) -> Scored:
    """Reads finished finetunings and fits the curve.

    Args:
        text: `AMOUNT=RUN; AMOUNT=RUN; ...`, or `RUN; ...` for runs with `data.label_sections`.
        score: name of the score in `results.json`; '': the first of validation that is no loss.

    Raises:
        InputError: if a run cannot be read, has no such score or no amount, or there are too few.
    """
    amounts, results = [], []
    for part in (piece.strip() for piece in text.replace("\n", ";").split(";")):
        if not part:
            continue
        amount, equals, run = part.partition("=")
        folder = Path(run.strip() if equals else part).expanduser()
        found = _read(folder / RESULTS_FILE)
        amounts.append(_number(amount, part) if equals else _sections(folder))
        results.append((folder, found))
    if not results:
        raise InputError(
            "curve names no run; write AMOUNT=RUN; AMOUNT=RUN; ..., runs of configs/finetune.py"
        )
    chosen = score or _first_score(*results[0])
    scores = []
    for folder, found in results:
        if not isinstance(found.get(chosen), int | float):
            known = [name for name in found if name.startswith("val_")]
            raise InputError(f"curve: {folder} has no score '{chosen}'{nearest(chosen, known)}")
        scores.append(float(found[chosen]))
    curve = fit_curve(amounts, scores, ceiling=None if "loss" in chosen else 1.0)
    return Scored(chosen, tuple(amounts), tuple(scores), curve)


def summarize(scored: Scored, target: float) -> tuple[dict[str, float], list[str]]:
    """Returns the numbers for `results.json`, and lines for people.

    Args:
        scored: trainings and their curve.
        target: score that is wanted; 0: none.
    """
    numbers: dict[str, float] = {"curve_limit": float(scored.curve.fit[0])}
    lines = []
    for times in FORETOLD:
        amount = times * scored.curve.largest
        found = scored.curve.at(amount)
        numbers |= _with_ends(f"curve_score_{times}x", found)
        lines.append(
            f"with {amount:g} ({times} times the most so far) expect {scored.score} {found[0]:.3f} "
            f"({found[1]:.3f} to {found[2]:.3f})"
        )
    if target:
        needed = scored.curve.needed(target)
        numbers |= _with_ends("curve_needed", needed)
        reached = "not reached by any amount" if not np.isfinite(needed[0]) else f"{needed[0]:.3g}"
        ends = " to ".join("never" if not np.isfinite(e) else f"{e:.3g}" for e in needed[1:])
        lines.append(f"{scored.score} {target:g} needs {reached} (95 %: {ends})")
    return numbers, lines


def draw_curve(scored: Scored, target: float) -> np.ndarray:
    """Draws the trainings, the curve and its interval; returns `[height, width, 3]` uint8."""
    figure = Figure(figsize=(5.5, 4), dpi=100, layout="constrained")
    axis = figure.subplots()
    amounts = np.geomspace(min(scored.amounts), max(FORETOLD) * scored.curve.largest, 60)
    middle, low, high = np.transpose([scored.curve.at(float(amount)) for amount in amounts])
    axis.fill_between(amounts, low, high, alpha=0.25, label="95 %")
    axis.plot(amounts, middle, label="fit")
    axis.plot(scored.amounts, scored.scores, "o", color="black", label="trainings")
    axis.axvline(scored.curve.largest, linestyle=":", color="grey")
    if target:
        axis.axhline(target, linestyle="--", color="tab:red", label="wanted")
    axis.set_xscale("log")
    axis.set_xlabel("amount of labels")
    axis.set_ylabel(scored.score)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return render(figure)


def _with_ends(name: str, found: Sequence[float]) -> dict[str, float]:
    ends = zip((name, f"{name}_low", f"{name}_high"), found, strict=True)
    return dict(ends)


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(
            f"curve: '{part}' is not AMOUNT=RUN with a number of labelled sections, crops or hours"
        ) from error


def _sections(folder: Path) -> float:
    data = _read(folder / CONFIG_FILE).get("config", {}).get("data", {})
    if not data.get("label_sections"):
        raise InputError(
            f"curve: {folder} was not limited by data.label_sections; say how many labels it had, as in 4={folder}"
        )
    return float(data["label_sections"])


def _first_score(folder: Path, found: dict[str, Any]) -> str:
    names = [name for name in found if name.startswith("val_") and name != _LOSS]
    if not names:
        raise InputError(f"curve: {folder} has no score of validation; give curve_score")
    return names[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"curve: {path} cannot be read ({type(error).__name__}); give folders of finished finetunings"
        ) from error
