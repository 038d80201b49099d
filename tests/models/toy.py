"""The network of docs/extending.md, and what makes Python believe that it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..extending import read_blocks

NETWORK = read_blocks()["toy_network.py"]


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    modules: dict[str, str],
    points: dict[str, dict[str, str]],
) -> None:
    """Puts modules and their entry points where Python finds installed packages.

    Args:
        folder: an empty one.
        monkeypatch: takes them away again.
        modules: name -> source.
        points: group -> name -> 'module:attribute'.
    """
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source.lstrip())
    info = folder / "beside_emjax-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: beside_emjax\nVersion: 1.0\n")
    lines = []
    for group, places in points.items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in places.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(folder))


def install_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs `NETWORK` under the name 'toy'."""
    install(
        folder,
        monkeypatch,
        {"toy_network": NETWORK},
        {"emjax.networks": {"toy": "toy_network:Toy"}},
    )
