"""The report of the demo: one HTML file that needs nothing besides."""

from __future__ import annotations

import base64
import datetime
import html
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from emjax.runs.spec import package_versions
from emjax.runs.whole_file import write_whole

# Scores of the table: name in results.json without the arm, title, whether more is better.
_SCORES = (
    ("val_loss", "held-out loss", False),
    ("val_affinity_f1", "held-out affinity F1", True),
    ("voi", "variation of information, bits", False),
    ("voi_split", "of which splits", False),
    ("voi_merge", "of which mergers", False),
    ("arand", "adapted Rand error", False),
    ("ap_50", "average precision at IoU 0.5", True),
)
# Title and caption of each picture: stage without the arm, file -> both. Others are shown by their names.
_CAPTIONS = {
    ("pretrain", "crops.png"): (
        "What the network has learnt from unlabelled tissue",
        "Held-out crops. Two views of the same tissue are damaged differently (noise, blur, black boxes). The network "
        "restores each: compare <i>restored</i> with <i>other view, clean</i>. And it recognises places: the last "
        "column shows how alike every place of the other view looks to the point marked red in the first view; it "
        "should be bright at the blue cross, the true place, and dark elsewhere.",
    ),
    ("pretrain", "curves.png"): (
        "The course of pretraining",
        "Losses, over a logarithmic axis where they differ by orders of magnitude; how much each pulls at the network; "
        "how often a point is recognised among places of other views (more is better; dashed: what is reached without "
        "training); and how many dimensions the features use (near 1 would be collapse).",
    ),
    ("finetune", "crops.png"): (
        "What it makes of held-out crops",
        "Image, labels (each neuron a colour), the affinities that the labels say (white: this voxel and the one above "
        "it belong to one neuron), and those that the network predicts.",
    ),
    ("finetune", "curves.png"): (
        "The course of finetuning",
        "The loss on the few labelled sections and on held-out ones, and how well affinities are predicted there.",
    ),
    ("segment", "sections.png"): (
        "Segmentation of the unseen volume",
        "Image, predicted affinities (along z, y and x in red, green and blue; white: all join, dark: a membrane), and "
        "the neurons that follow from them.",
    ),
    ("evaluate", "sections.png"): (
        "Compared with the truth",
        "A segment has the colour of the neuron that it matches. Last column: where a neuron is split into several "
        "segments, merged with another, or missed.",
    ),
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 90em; margin: 2em auto; padding: 0 1em; color: #222; }
img { max-width: 100%; } table { border-collapse: collapse; } td, th { padding: .3em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #ccc; } .best { font-weight: bold; }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto; white-space: pre-wrap; font-size: 13px; }
figure { margin: 0; } figcaption, .facts { color: #555; font-size: 14px; max-width: 62em; } p { max-width: 62em; }
.arms { display: grid; grid-template-columns: repeat(auto-fit, minmax(20em, 1fr)); gap: 1.5em; }
"""


def write_report(
    folder: Path,
    arms: Sequence[str],
    results: Mapping[str, float],
    commands: Mapping[str, str],
    seconds: Mapping[str, float],
    steps: Mapping[str, int],
) -> Path:
    """Writes `report.html`.

    Args:
        folder: of the demo, with a folder for each stage.
        arms: the networks that are compared.
        results: scores, `<arm>_<name>`.
        commands: stage -> what a user would type.
        seconds: stage -> how long it took; a stage of an earlier run is absent.
        steps: training -> number of its steps.

    Returns:
        The file.
    """
    trained = " and ".join(f"{count} steps of {what}" for what, count in steps.items())
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>emjax demo</title>",
        f"<style>{_STYLE}</style></head><body><h1>emjax: from unlabelled volumes to instances</h1>",
        "<p>A network pretrained on an unlabelled volume and one from scratch were trained on the same few labelled "
        "sections, and segmented a volume that neither had seen. All data are synthetic: this shows the path, not how "
        "well it does on real EM.</p>",
        f"<p class=facts>{html.escape(_facts(seconds))} {html.escape(trained[:1].upper() + trained[1:])}: as few as "
        "this show that all stages work; for results take the numbers of steps in the config files.</p>",
        "<h2>Scores on the unseen volume</h2>",
        _table(arms, results),
        "<p class=facts>Bold: the better of both. One small volume and one seed are no evidence of a difference.</p>",
        "<h2>Pretraining</h2>",
        *(_figure(path, "pretrain") for path in _pictures(folder / "pretrain")),
    ]
    for stage in ("finetune", "segment", "evaluate"):
        parts += _side_by_side(folder, stage, arms)
    parts.append("<h2>Commands</h2><p>Each stage is one command; these were run.</p>")
    for name, command in commands.items():
        took = f" ({seconds[name]:.0f} s)" if seconds.get(name, 0) >= 1 else ""
        parts.append(f"<h3>{html.escape(name)}{took}</h3><pre>{html.escape(command)}</pre>")
    parts.append("</body></html>\n")
    path = folder / "report.html"
    write_whole(path, "\n".join(parts).encode())
    return path


def _facts(seconds: Mapping[str, float]) -> str:
    """Returns when, with what and where it was made, and how long it took."""
    versions = package_versions()
    now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    made_by = f"emjax {versions.get('emjax', '(from a checkout)')}, jax {versions.get('jax', '')}"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    total = sum(seconds.values())
    took = f" It took {total / 60:.1f} minutes." if total >= 1 else ""
    return f"Made {now} by {made_by}, Python {versions['python']}, on {machine}.{took}"


def _table(arms: Sequence[str], results: Mapping[str, float]) -> str:
    rows = [
        "<table><tr><th></th>" + "".join(f"<th>{html.escape(arm)}</th>" for arm in arms) + "</tr>"
    ]
    for name, title, more_is_better in _SCORES:
        values = [results.get(f"{arm}_{name}") for arm in arms]
        known = [value for value in values if value is not None]
        if not known:
            continue
        best = max(known) if more_is_better else min(known)
        # What is equal as it is shown is no better.
        equal = len({f"{value:.3f}" for value in known}) == 1
        cells = [
            "<td></td>"
            if value is None
            else f"<td{' class=best' if value == best and not equal else ''}>{value:.3f}</td>"
            for value in values
        ]
        note = " (more is better)" if more_is_better else " (less is better)"
        rows.append(f"<tr><td>{html.escape(title + note)}</td>{''.join(cells)}</tr>")
    return "\n".join([*rows, "</table>"])


def _side_by_side(folder: Path, stage: str, arms: Sequence[str]) -> list[str]:
    """Returns the pictures of a stage, those of one name beside each other."""
    found = {arm: _pictures(folder / f"{stage}_{arm}") for arm in arms}
    parts = []
    for name in sorted({path.name for paths in found.values() for path in paths}):
        title, caption = _CAPTIONS.get((stage, name), (f"{stage}: {name}", ""))
        parts.append(f"<h2>{html.escape(title)}</h2><p>{caption}</p><div class=arms>")
        for arm, paths in found.items():
            parts += [_image(path, arm) for path in paths if path.name == name]
        parts.append("</div>")
    return parts


def _figure(path: Path, stage: str) -> str:
    title, caption = _CAPTIONS.get((stage, path.name), (f"{stage}: {path.name}", ""))
    return f"<h3>{html.escape(title)}</h3><p>{caption}</p>{_image(path, '')}"


def _image(path: Path, arm: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    below = f"<figcaption><b>{html.escape(arm)}</b></figcaption>" if arm else ""
    alt = html.escape(f"{path.stem} {arm}".strip())
    return f"<figure><img alt='{alt}' src='data:image/png;base64,{data}'>{below}</figure>"


def _pictures(stage: Path) -> list[Path]:
    return sorted((stage / "plots").glob("*.png"))
