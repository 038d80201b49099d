"""Commands on the pages are accepted: their jobs, presets and fields exist, and values are of the right types."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path

import pytest

from emjax.command_line import load_config, parse
from emjax.config import flatten, plain
from emjax.errors import InputError

from .pages import PAGES, ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.py"))
# The changelog is history.
CHECKED = [*(page for page in PAGES if page.name != "CHANGELOG.md"), *CONFIGS]
_LONG = re.compile(r"python3? -m emjax(?:\.main)? (--config.*)")
_SHORT = re.compile(r"(?:^|[`(]|\s{2,}|\$ )emjax ([a-z_]+(?::[\w,]+)? --.*)")
_FIELD = re.compile(r"--config\.((?:\w+\.)*\w+)(?==)")
# What ends a command in a shell.
_ENDS = {"|", "||", "&&", ";", ";;", "&", ">", ">>", "#", "..."}


def commands(text: str) -> list[list[str]]:
    """Returns the arguments of each command of emjax in a text; '...' and what comes after a command is left out."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for pattern in (_LONG, _SHORT):
            for arguments in pattern.findall(line):
                if arguments.startswith("--config ..."):
                    continue
                words = _words(arguments.partition("`")[0])
                if "--help" not in words:
                    found.append([word for word in words if word != "..."])
    return found


def _words(arguments: str) -> list[str]:
    lexer = shlex.shlex(arguments, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if word in _ENDS - {"..."}:
            break
        words.append(word)
    return words


@functools.cache
def _all_fields() -> set[str]:
    configs = [load_config(f"configs/{file.name}") for file in CONFIGS]
    configs += [load_config(f"configs/pretrain.py:{name}") for name in ("vit", "resnet18")]
    return {name for config in configs for name in flatten(plain(config))}


def test_commands_are_found_and_cut_where_they_end():
    page = """
    python -m emjax.main --config configs/view.py --config.volumes='a; b' \\
        --config.png=x.png && echo done  # a remark
    srun python -m emjax.main --config ... --workdir W
    `emjax pretrain:ours --seed=1` and `emjax pretrain --help`
    """
    assert commands(page) == [
        ["--config", "configs/view.py", "--config.volumes=a; b", "--config.png=x.png"],
        ["pretrain:ours", "--seed=1"],
    ]


def test_the_walk_of_readme_is_among_them():
    jobs = [command[0] for command in commands((ROOT / "README.md").read_text())]
    walk = ["view", "finetune:neurons", "predict", "tune", "predict", "segment", "evaluate", "view"]
    assert [job for job in jobs if job in walk] == walk


def test_a_field_that_is_not_there_is_found():
    (command,) = commands("python -m emjax.main --config configs/view.py --config.volume=a")
    with pytest.raises(InputError, match="volume"):
        parse(command)


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_accepted(page: Path):
    for command in commands(page.read_text()):
        if command[0] != "--config" or command[1].startswith("configs/"):
            parse(command)


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_fields_are_those_of_some_job(page: Path):
    assert set(_FIELD.findall(page.read_text())) - _all_fields() == set()
