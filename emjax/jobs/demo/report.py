"""The report of the demo: one HTML file that needs nothing besides."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

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
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
img { max-width: 100%; } table { border-collapse: collapse; } td, th { padding: .3em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #ccc; } .best { font-weight: bold; }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto; white-space: pre-wrap; font-size: 13px; }
"""


def write_report(
    folder: Path,
    arms: Sequence[str],
    results: Mapping[str, float],
    commands: Mapping[str, str],
    seconds: Mapping[str, float],
) -> Path:
    """Writes `report.html`.

    Args:
        folder: of the demo, with a folder for each stage.
        arms: the networks that are compared.
        results: scores, `<arm>_<name>`.
        commands: stage -> what a user would type.
        seconds: stage -> how long it took in this run.

    Returns:
        The file.
    """
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>emjax demo</title>",
        f"<style>{_STYLE}</style></head><body><h1>emjax: from unlabelled volumes to instances</h1>",
        "<p>A network pretrained on an unlabelled volume and one from scratch were trained on the same few labelled "
        "sections, and segmented a volume that neither had seen. All data are synthetic: this shows the path, not how "
        "well it does on real EM.</p>",
        "<h2>Scores on the unseen volume</h2>",
        _table(arms, results),
        "<h2>Pretraining</h2>",
        *_pictures(folder / "pretrain" / "plots"),
    ]
    for arm in arms:
        parts.append(f"<h2>Finetuned: {html.escape(arm)}</h2>")
        parts += _pictures(folder / f"finetune_{arm}" / "plots")
        parts.append(f"<h2>Segmentation: {html.escape(arm)}</h2>")
        parts += _pictures(folder / f"segment_{arm}" / "plots")
        parts += _pictures(folder / f"evaluate_{arm}" / "plots")
    parts.append("<h2>Commands</h2><p>Each stage is one command; these were run.</p>")
    for name, command in commands.items():
        took = f" ({seconds[name]:.0f} s)" if seconds.get(name, 0) >= 1 else ""
        parts.append(f"<h3>{html.escape(name)}{took}</h3><pre>{html.escape(command)}</pre>")
    parts.append("</body></html>\n")
    path = folder / "report.html"
    write_whole(path, "\n".join(parts).encode())
    return path


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
        cells = [
            "<td></td>"
            if value is None
            else f"<td{' class=best' if value == best else ''}>{value:.3f}</td>"
            for value in values
        ]
        note = " (more is better)" if more_is_better else " (less is better)"
        rows.append(f"<tr><td>{html.escape(title + note)}</td>{''.join(cells)}</tr>")
    return "\n".join([*rows, "</table>"])


def _pictures(folder: Path) -> list[str]:
    found = sorted(folder.glob("*.png"))
    return [
        f"<p><img alt='{html.escape(path.stem)}' src='data:image/png;base64,"
        f"{base64.b64encode(path.read_bytes()).decode()}'></p>"
        for path in found
    ]
