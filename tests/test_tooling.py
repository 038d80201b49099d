"""The settings of the tools do what they are there for, and agree with each other."""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def _warn(module: str) -> None:
    warnings.warn_explicit("old", DeprecationWarning, f"{module}.py", 1, module=module, registry={})


def test_a_warning_of_our_own_code_is_an_error():
    with pytest.raises(DeprecationWarning):
        _warn("emjax.geometry.box")
    with pytest.warns(DeprecationWarning):
        _warn("numpy.linalg")


def test_a_marker_that_nobody_declared_is_an_error(request):
    assert request.config.getoption("strict_markers") or request.config.getini("strict_markers")


def test_ci_checks_lint_format_types_and_tests():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    for command in ("ruff check .", "ruff format --check .", "basedpyright", "pytest"):
        assert command in lines


def test_the_hosted_workflow_pins_its_actions_and_runs_the_same_on_every_python():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    job = yaml.safe_load(text)["jobs"]["run"]
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in used)
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_hooks_before_a_commit_use_the_version_that_is_tested_with():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    installed = importlib.metadata.version("ruff").split(".")[:2]
    assert repository["rev"].removeprefix("v").split(".")[:2] == installed


def test_the_version_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (version,) = re.findall(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert citation["version"] == version
    assert f"This will be {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_normalization_has_one_spelling():
    other = "normal" + "is"
    kinds = {".py", ".md", ".sh", ".toml", ".sbatch", ".ipynb"}
    folders = ("emjax", "tests", "configs", "docs", "benchmarks", "launch")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    assert len(paths) > 300
    found = [p for p in paths if p.suffix in kinds and other in p.read_text().lower()]
    assert found == []
