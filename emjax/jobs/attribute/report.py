"""What a user reads of an explanation: numbers, maps as pictures, and a page that holds both."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from scipy import ndimage

from emjax.attribution.sections import Asymmetry
from emjax.jobs.attribute.images import Tiles
from emjax.jobs.attribute.settings import METHODS
from emjax.pictures.figures import image_grid
from emjax.pictures.render import save_png
from emjax.runs.whole_file import write_whole

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66em; margin: 2em auto; padding: 0 1em; color: #222; }
img { max-width: 100%; } table { border-collapse: collapse; } td, th { padding: .3em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #ccc; }
"""


def equalized(image: np.ndarray) -> np.ndarray:
    """Returns the rank of each value in [0, 1], for display alone: equal areas have equal shares of the grey values."""
    flat = np.abs(image).ravel()
    values, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    if len(values) == 1:
        return np.zeros(image.shape)
    ranks = np.cumsum(counts) - counts
    return (ranks / ranks[-1])[inverse].reshape(image.shape)


def draw_maps(
    folder: Path,
    tiles: Tiles,
    part: slice,
    voxels: Mapping[str, np.ndarray],
    spatial: np.ndarray,
    count: int,
) -> list[Path]:
    """Draws for each of the first tiles the sections, and below them the map of each method.

    Beside each method's maps, their sum over the sections is smoothed and laid over the middle section in colour: maps
    of single voxels are too noisy to see structures in.

    Args:
        folder: existing folder.
        tiles: of which the first are drawn.
        part: the sections that are measured.
        voxels: method -> `[n, sections, y, x]`.
        spatial: Grad-CAM's maps `[n, y', x']`, or empty.
        count: of tiles.

    Returns:
        The files.
    """
    images = tiles.images[:, part]
    sections = images.shape[1]
    titles = [_section_title(i, sections) for i in range(sections)]
    titles.append("region; below: smoothed")
    names = ["image", *(METHODS[name][0] for name in voxels)]
    names += [METHODS["grad_cam"][0]] if len(spatial) else []
    pixel_nm = tiles.voxel_nm[2] if tiles.voxel_nm else None
    written = []
    for tile in range(min(count, len(images))):
        middle = images[tile, sections // 2]
        rows: list[list[np.ndarray | None]] = [
            [*images[tile], overlay(middle, 0.35 * tiles.regions[tile], "winter")]
        ]
        # Equalized together: which section has more is seen as well as where.
        for found in voxels.values():
            rows.append([*equalized(found[tile]), _smoothed(middle, np.abs(found[tile]).sum(0))])
        if len(spatial):
            shape = [n / m for n, m in zip(middle.shape, spatial[tile].shape, strict=True)]
            wide = ndimage.zoom(spatial[tile], shape, order=1, grid_mode=True, mode="nearest")
            rows.append([None] * sections + [_smoothed(middle, np.asarray(wide))])
        path = folder / f"maps_{tile:02d}.png"
        save_png(path, image_grid(rows, titles, names=names, pixel_nm=pixel_nm))
        written.append(path)
    return written


def overlay(image: np.ndarray, strength: np.ndarray, colours: str = "inferno") -> np.ndarray:
    """Lays a map over a section.

    Args:
        image: `[y, x]` in [0, 1].
        strength: `[y, x]` in [0, 1]; where it is 0, the section is seen as it is, and where it is 1, not at all.
        colours: matplotlib's name of the colours.

    Returns:
        `[y, x, 3]` in [0, 1].
    """
    tinted = colormaps[colours](strength)[..., :3]
    return image[..., None] * (1 - strength[..., None]) + tinted * strength[..., None]


def _smoothed(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Lays a map over its section, smoothed; its strongest tenth is seen best."""
    smooth = equalized(ndimage.gaussian_filter(found, max(1.0, min(found.shape) / 40)))
    return overlay(image, 0.85 * smooth**3)


def _section_title(number: int, sections: int) -> str:
    away = number - sections // 2
    return "middle section" if away == 0 else f"section z{away:+d}"


def write_report(
    folder: Path,
    title: str,
    measured: Mapping[str, Asymmetry],
    notes: Sequence[str],
    pictures: Sequence[tuple[Path, str]],
) -> Path:
    """Writes `report.html`, which needs nothing besides.

    Args:
        folder: run folder.
        title: what is explained.
        measured: method -> how unequal the sections are.
        notes: lines on the checks.
        pictures: files to include, each with a line on where its tile lies.

    Returns:
        The file.
    """
    first = next(iter(measured.values()), None)
    sections = len(first.shares) if first else 0
    heads = [_section_title(i, sections) for i in range(sections)]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>emjax: attribution</title>",
        f"<style>{_STYLE}</style></head><body><h1>What the answer comes from</h1><p>{html.escape(title)}</p>",
        "<h2>Shares of the sections</h2><p>How much of the answer for the middle section each section accounts for; in "
        "brackets the interval that holds the mean over such tiles with 95 % confidence. The two neighbours should "
        "count alike, as no order of sections tells them apart: a neighbour ratio whose interval lies above 1 says "
        "that they do not. The middle section may well count more, since it is the one that is predicted.</p>",
        "<table><tr><th>method</th>"
        + "".join(f"<th>{html.escape(head)}</th>" for head in heads)
        + "<th>neighbour ratio</th><th>largest by smallest</th><th>variation</th></tr>",
    ]
    for name, found in measured.items():
        cells = [*found.shares, found.neighbour_ratio, found.spread, found.variation]
        parts.append(
            f"<tr><td>{html.escape(METHODS[name][0])}</td>"
            + "".join(f"<td>{c.value:.3f} ({c.low:.3f}, {c.high:.3f})</td>" for c in cells)
            + "</tr>"
        )
    parts += ["</table><h2>Checks</h2><ul>", *(f"<li>{html.escape(n)}</li>" for n in notes)]
    parts.append(
        "</ul><h2>Maps</h2><p>Top: the sections, and in blue the region whose answer is explained. Below, for each "
        "method, how much of the answer comes from each voxel: bright is much. Grey values of a row are ranks, "
        "equalized over its sections together, so that weak parts are seen too: do not read sizes off them. On the "
        "right the same, summed over the sections, smoothed and laid over the middle section: yellow is most.</p>"
    )
    for path, text in pictures:
        data = base64.b64encode(path.read_bytes()).decode()
        shown = f"<img alt='{path.stem}' src='data:image/png;base64,{data}'>"
        parts.append(f"<p>{html.escape(text)}</p><p>{shown}</p>")
    parts.append("</body></html>\n")
    target = folder / "report.html"
    write_whole(target, "\n".join(parts).encode())
    return target
