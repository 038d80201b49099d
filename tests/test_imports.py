"""Imports go one way, and the command starts without the libraries that take seconds to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "emjax"
FILES = sorted(ROOT.rglob("*.py"))
# Each package may import those before it.
ALLOWED = {
    "geometry": {"errors", "geometry"},
    "runs": {"errors", "escapes", "config", "geometry", "runs"},
    "volumes": {
        "errors",
        "escapes",
        "compiled",
        "config",
        "registry",
        "geometry",
        "runs",
        "volumes",
    },
    "blocks": {"errors", "config", "signals", "geometry", "runs", "volumes", "blocks"},
    "skeletons": {"errors", "geometry", "runs", "skeletons"},
    "pictures": {"errors", "geometry", "runs", "pictures"},
    "tracing": {"errors", "compiled", "geometry", "runs", "skeletons", "tracing"},
    # Scores are functions of arrays; ids mean what volumes of labels say.
    "evaluation": {"errors", "compiled", "geometry", "volumes", "skeletons", "evaluation"},
    "objects": {
        *("errors", "compiled", "hash_table", "geometry", "runs", "volumes", "blocks", "objects"),
    },
    "augment": {"errors", "config", "geometry", "augment"},
    "losses": {"errors", "config", "augment", "targets", "losses"},
    "targets": {"errors", "config", "registry", "targets"},
    "weights": {"errors", "config", "registry", "weights"},
    "attribution": {"errors", "attribution"},
    "postprocess": {
        *("errors", "compiled", "config", "geometry", "runs", "volumes", "blocks", "segmentation"),
        "postprocess",
    },
    "annotation": {"errors", "geometry", "annotation"},
    # Its passes over blocks read and write volumes.
    "segmentation": {
        *("errors", "config", "registry", "compiled", "hash_table"),
        *("geometry", "runs", "volumes", "blocks", "segmentation"),
    },
}


def _imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _found(packages: set[str]) -> Iterator[tuple[Path, str]]:
    for path in FILES:
        if _package(path) in packages:
            yield from ((path.relative_to(ROOT), name) for name in _imports(path))


def _under(name: str, *parents: str) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def test_the_walk_sees_imports():
    assert ("emjax.errors.InputError") in set(_imports(ROOT / "main.py"))
    assert len(FILES) > 40


def test_packages_of_the_host_do_not_import_jax():
    found = list(
        _found(
            {
                *("geometry", "runs", "volumes", "blocks", "evaluation", "objects"),
                *("segmentation", "postprocess"),
                *("skeletons", "tracing"),
                "annotation",
            }
        )
    )
    assert [f for f in found if _under(f[1], "jax", "jaxlib", "flax", "optax", "orbax")] == []


def test_only_models_import_linen():
    found = _found({_package(path) for path in FILES} - {"models"})
    assert [f for f in found if _under(f[1], "flax.linen", "flax.nnx")] == []


def test_augment_losses_targets_and_attribution_import_jax_and_numpy_alone():
    wrong = []
    for path, name in _found({"augment", "losses", "targets", "attribution"}):
        top = name.split(".")[0]
        if top not in {"jax", "numpy", "emjax"} and top not in sys.stdlib_module_names:
            wrong.append((path, name))
    assert wrong == []


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package):
    ours = [f for f in _found({package}) if _under(f[1], "emjax")]
    assert [f for f in ours if f[1].split(".")[1] not in ALLOWED[package]] == []


@pytest.mark.parametrize(
    ("package", "later"),
    [
        ("data", ("parallel", "models", "tasks", "train", "jobs", "main")),
        ("parallel", ("models", "tasks", "train", "jobs", "main")),
        ("models", ("tasks", "train", "jobs", "main")),
        ("tasks", ("train", "jobs", "main")),
        ("train", ("jobs", "main")),
        ("inference", ("jobs", "main")),
        ("jobs", ("main",)),
    ],
)
def test_no_package_imports_a_later_one(package, later):
    names = [f"emjax.{name}" for name in later]
    wrong = [f for f in _found({package}) if _under(f[1], *names)]
    assert wrong == []


def test_tensorflow_is_nowhere():
    found = _found({_package(path) for path in FILES})
    assert [f for f in found if _under(f[1], "tensorflow", "torch")] == []


def test_no_module_is_called_utils():
    assert [path for path in ROOT.rglob("*") if "util" in path.stem] == []


def test_importing_the_command_does_not_import_jax():
    code = (
        "import sys, emjax.main\n"
        "heavy = {'jax', 'flax', 'tensorflow', 'tensorstore', 'matplotlib', 'orbax'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
