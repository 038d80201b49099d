from __future__ import annotations

import re
import runpy
import textwrap

import pytest
from ml_collections import ConfigDict

from emjax import command_line, field_overrides
from emjax.config import base_config, choose_preset, flatten, identity, plain, validate
from emjax.config_comments import comment_on
from emjax.errors import InputError


def _config() -> ConfigDict:
    config = base_config("pretrain")
    config.data.volumes = "a.h5:raw"
    return config


def _set(config: ConfigDict, name: str, value: object) -> ConfigDict:
    group, _, key = name.rpartition(".")
    (config[group] if group else config)[key] = value
    return config


def test_defaults_are_valid():
    validate(_config())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_steps", 0, "num_steps=0: must be at least 1"),
        ("data.crop_size", (8, 64), r"data.crop_size=\(8, 64\): needs three"),
        ("data.voxel_nm", (8, "a", 1), "needs three positive numbers"),
        ("data.volumes", "", "data.volumes is empty"),
        ("data.pad", "reflec", "did you mean 'reflect'"),
        ("data.label_fraction", 0.0, "data.label_fraction=0.0"),
        ("optimizer.name", "adam", "'adam' is unknown; did you mean 'adamw'"),
        ("optimizer.learning_rate", -1.0, "above 0"),
        ("optimizer.learning_rate", 1e-8, "final_learning_rate"),
        ("optimizer.betas", (0.9, 1.0), "two numbers"),
        ("optimizer.ema_decay", 1.0, r"\[0, 1\)"),
        ("model.dtype", "float16", "'float16' is unknown"),
        ("mesh.data", 0, "1 or more"),
        ("save.best_mode", "maximum", "did you mean 'max'"),
        ("seed", -1, "seed=-1"),
    ],
)
def test_mistakes_are_named(name, value, message):
    with pytest.raises(InputError, match=message) as error:
        validate(_set(_config(), name, value))
    assert "\n" not in str(error.value)


def test_identity_leaves_out_what_does_not_matter():
    names = identity(_config())
    assert "seed" in names and "data.crop_size" in names
    assert not {"data.num_threads", "save.keep", "log.every_steps", "mesh.data"} & names.keys()


# How a run is done, not what it computes: written out, so that a field which is added to `UNHASHED` is added here by
# somebody who thought of it.
_MAY_CHANGE = {
    *("overwrite", "allow_incomplete", "max_bad_steps", "profile_steps", "num_workers", "cluster"),
    *(
        "data.allow_overlap",
        "data.num_threads",
        "data.prefetch_batches",
        "eval.every_steps",
    ),
    *("log.every_steps", "log.to", "log.project"),
    *("mesh.data", "mesh.fsdp", "mesh.spatial"),
    *("arms", "seeds", "resamples"),
    *("save.every_steps", "save.keep", "save.best_metric", "save.best_mode"),
}


@pytest.mark.parametrize(
    "path", sorted((command_line.REPOSITORY / "configs").glob("*.py")), ids=lambda p: p.stem
)
def test_every_other_field_of_a_config_identifies_its_run(path):
    config = command_line.load_config(str(path))
    fields = flatten(plain(config)).keys()
    assert fields - identity(config).keys() == fields & _MAY_CHANGE


@pytest.mark.parametrize(
    "path", sorted((command_line.REPOSITORY / "configs").glob("*.py")), ids=lambda p: p.stem
)
def test_a_config_is_locked_whoever_asks_for_it(path):
    """Also a notebook that imports the file and calls its function."""
    config = runpy.run_path(str(path))["get_config"]()
    with pytest.raises(InputError, match="unknown field 'misspelt'"):
        config.misspelt = 3


def test_a_config_takes_no_field_that_it_does_not_have():
    config = command_line.load_config("configs/pretrain.py:smoke")
    config.num_steps = 3
    with pytest.raises(
        InputError, match="unknown field 'num_stepps'; did you mean 'num_steps'"
    ) as error:
        config.num_stepps = 3
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="did you mean 'batch_size'"):
        config.data.batchsize = 3
    with pytest.raises(InputError, match="did you mean 'contrastive'"):
        config.loss["contrastiv"] = 0.1
    with pytest.raises(InputError, match="did you mean 'num_workers'"):
        command_line.load_config("configs/segment.py").num_worker = 2
    assert config.copy_and_resolve_references().is_locked


def _parse(*overrides: str) -> ConfigDict:
    arguments = [f"--config.{text}" for text in overrides]
    return command_line.parse(["--config", "configs/pretrain.py", *arguments])[0]


def test_another_network_begins_its_group_anew():
    config = _parse(
        "model.widths=8,16",
        "model.name=toy",
        "model.deep=true",
        "model.kind=gelu",
        "model.rate=0.5",
    )
    assert plain(config.model) == {
        "name": "toy",
        "dtype": "auto",
        "widths": [8, 16],
        "deep": True,
        "kind": "gelu",
        "rate": 0.5,
    }
    # The network that it has already keeps its fields, and refuses others.
    same = _parse("model.name=unet", "model.groups=2")
    assert same.model.groups == 2 and "widths" in same.model
    for texts in (["model.name=unet", "model.deep=true"], ["model.name=toy", "model.dtpye.x=1"]):
        with pytest.raises(InputError, match="unknown field --config.model.d"):
            _parse(*texts)


def test_another_recipe_begins_its_group_anew():
    assert plain(_parse("augment.recipe=released").augment) == {"recipe": "released"}
    both = _parse("augment.max_offset=2,9,9", "augment.recipe=released").augment
    assert plain(both) == {"recipe": "released", "max_offset": [2, 9, 9]}
    assert "own_orientation" in _parse("augment.recipe=ours").augment


def test_plain_is_what_json_holds():
    config = ConfigDict({"a": (1, 2), "b": {"c": None}})
    config.d = config.get_ref("a")
    assert plain(config) == {"a": [1, 2], "b": {"c": None}, "d": [1, 2]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("num_steps=1e5", 100_000),
        ("optimizer.learning_rate=1", 1.0),
        ("data.crop_size=18,160,160", (18, 160, 160)),
        ("data.crop_size=(18, 160, 160)", (18, 160, 160)),
        ("data.voxel_nm=40,8,8.5", (40, 8, 8.5)),
        ("data.voxel_nm=", ()),
        (
            "data.volumes=a.h5:raw[0:160]|a.h5:labels; b.zarr?x=1",
            "a.h5:raw[0:160]|a.h5:labels; b.zarr?x=1",
        ),
        ("overwrite=true", True),
        ("overwrite=0", False),
        ("mesh.data=-1", -1),
        ("optimizer.betas=0,1", (0.0, 1.0)),
    ],
)
def test_override(text, value):
    config = _config()
    name, _, new = text.partition("=")
    field_overrides.override(config, name, new)
    found: object = config
    for part in name.split("."):
        found = found[part]
    assert found == value and type(found) is type(value)


def test_override_reaches_derived_fields():
    config = _config()
    config.eval.every_steps = config.get_ref("num_steps") // 10
    field_overrides.override(config, "num_steps", "500")
    assert config.eval.every_steps == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data.batchsize=3", "did you mean --config.data.batch_size?"),
        ("batch_size=3", "did you mean --config.data.batch_size?"),
        ("optimiser.name=sgd", "did you mean --config.optimizer.name?"),
        ("optimizer.schedul=paper", "did you mean --config.optimizer.schedule?"),
        ("zzz=1", "fields of config: data, eval"),
        ("seed.x=1", "seed is a value, not a group"),
        ("data=1", "is a group; set one of its fields: allow_overlap, batch_size"),
        ("data.batch_size=many", "needs a whole number"),
        ("data.batch_size=1.5", "needs a whole number"),
        ("data.crop_size=8,64,a", "needs values separated by commas"),
        ("optimizer.learning_rate=fast", "needs a number"),
        ("overwrite=2", "needs true or false"),
        ("seed=True", "needs a whole number"),
    ],
)
def test_override_mistakes(text, message):
    name, _, new = text.partition("=")
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as error:
        field_overrides.override(_config(), name, new)
    assert "\n" not in str(error.value)


def _write_config(folder, body="return base_config('toy')", argument="preset=''"):
    path = folder / "configs" / "toy.py"
    path.parent.mkdir()
    path.write_text(
        "from emjax.config import base_config, choose_preset\n"
        + f"def get_config({argument}):\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
    )


def test_parse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write_config(tmp_path, "c = base_config('toy')\nc.seed = int(preset or 0)\nreturn c")
    config, flags = command_line.parse(
        ["--config", "configs/toy.py:4", "--config.data.batch_size", "16", "--config.num_steps=7"]
    )
    assert (config.seed, config.data.batch_size, config.num_steps) == (4, 16, 7)
    assert flags.workdir == "runs/toy" and flags.coordinator is None
    _, flags = command_line.parse(["--config=configs/toy.py", "--workdir=there"])
    assert flags.workdir == "there"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=x"], "--config; see python -m emjax.main --help"),
        (["toi"], "no job 'toi'; did you mean 'toy'"),
        (["toy", "--data.batchsize=4"], r"did you mean --config.data.batch_size\?"),
        (["toy:big"], "unknown preset 'big'; known: small"),
        (
            ["--config", "configs/toi.py"],
            "no config file configs/toi.py; did you mean 'configs/toy.py'",
        ),
        (["--config", "configs/toy.py:big"], "unknown preset 'big'; known: small"),
        (["--config", "configs/toy.py", "--workdri", "x"], "unrecognized arguments: --workdri"),
        (
            ["--config", "configs/toy.py", "--data.batch_size=4"],
            r"--data.batch_size=4; did you mean --config.data.batch_size=4\?",
        ),
        (["--config", "configs/toy.py", "--config.seed"], "--config.seed needs a value"),
    ],
)
def test_parse_mistakes(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    _write_config(tmp_path, "return choose_preset({'': base_config('toy'), 'small': 1}, preset)")
    with pytest.raises(InputError, match=message):
        command_line.parse(arguments)


def test_help_with_a_config_shows_its_fields(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _write_config(tmp_path, "c = base_config('toy')\nc.seed = int(preset or 0)\nreturn c")
    for arguments in (
        ["--help", "--config=configs/toy.py:4"],
        ["--config", "configs/toy.py:4", "-h"],
    ):
        with pytest.raises(SystemExit) as end:
            command_line.parse(arguments)
        assert not end.value.code
        said = capsys.readouterr().out
        assert (
            re.search("--config.seed=4 +seed of parameters", said)
            and "usage" not in said
            and "JOB" not in said
        )
    with pytest.raises(SystemExit):
        command_line.parse(["--workdir", "x", "--help"])
    assert "usage" in capsys.readouterr().out
    with pytest.raises(InputError, match="did you mean 'configs/toy.py'"):
        command_line.parse(["--config", "configs/tou.py", "--help"])


def test_the_short_form_is_the_long_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write_config(tmp_path, "c = base_config('toy')\nc.seed = int(preset or 0)\nreturn c")
    typed = ["toy:4", "--data.batch_size", "16", "--num_steps=7", "--workdir=there"]
    config, flags = command_line.parse(typed)
    assert (config.seed, config.data.batch_size, config.num_steps) == (4, 16, 7)
    assert flags.workdir == "there"
    same, _ = command_line.parse(["configs/toy.py:4", "--config.seed=2"])
    assert same.seed == 2


def test_help_is_what_the_config_file_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _write_config(
        tmp_path,
        "c = base_config('toy')\nc.width = 3  # nm of a pixel\n# one comment,\n# two lines\nc.depth = (\n    1\n)\n"
        "c.plain = 1\nreturn c",
    )
    with pytest.raises(SystemExit):
        command_line.parse(["toy", "--help"])
    said = capsys.readouterr().out
    assert re.search(r"^  --width=3 +nm of a pixel$", said, re.M)
    assert re.search(r"^  --depth=1 +one comment, two lines$", said, re.M)
    assert re.search(r"^  --plain=1$", said, re.M)
    # From the code that makes the fields which all jobs share; a group says what it is.
    assert re.search(r"^  --data.batch_size=8 +crops in each step", said, re.M)
    assert re.search(r"^mesh: devices on each axis", said, re.M)


def test_every_shipped_field_has_a_comment():
    shipped = {path.stem for path in (command_line.REPOSITORY / "configs").glob("*.py")}
    silent = set()
    for job in shipped:
        config = command_line.load_config(f"configs/{job}.py")
        silent |= {f"{job}: {n}" for n in flatten(plain(config)) if not comment_on(config, n)}
    # The job is not for users to set.
    assert silent == {f"{job}: job" for job in shipped}


def test_without_arguments_the_jobs_are_listed(capsys):
    with pytest.raises(SystemExit) as end:
        command_line.parse([])
    assert not end.value.code
    assert re.search(r"^  pretrain +Trains a network", capsys.readouterr().out, re.M)


def test_version_and_completion(capsys):
    for argument, wanted in (("--version", r"emjax \S+ \(jax "), ("--completion", "complete -o")):
        with pytest.raises(SystemExit):
            command_line.parse([argument])
        assert re.search(wanted, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("line", "candidates"),
    [
        ("emjax pret", "pretrain"),
        ("emjax pretrain:ou", "ours"),
        ("emjax segment --inp", "--input="),
        ("emjax pretrain:smoke --optimizer.weight", "--optimizer.weight_decay="),
        ("emjax nothing --inp", ""),
        ("emjax segment ", ""),
    ],
)
def test_completion_of_a_line(capsys, line, candidates):
    with pytest.raises(SystemExit):
        command_line.parse(["--complete", line])
    assert capsys.readouterr().out.split() == candidates.split()


def test_config_without_presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _write_config(tmp_path, argument="")
    with pytest.raises(InputError, match="has no presets; leave out ':small'"):
        command_line.parse(["--config", "configs/toy.py:small"])


def test_choose_preset():
    assert choose_preset({"": 1, "big": 2}, "big") == 2
    with pytest.raises(InputError, match="did you mean 'big'"):
        choose_preset({"": 1, "big": 2}, "bigg")
