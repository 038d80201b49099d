"""What a job is asked for is read once, checked, and does not change: the configuration goes no deeper than `run`."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import emjax.jobs
from emjax.command_line import load_config
from emjax.errors import InputError
from emjax.volume_config import VolumeSettings

# Job -> fields that have to be given.
NEEDED = {
    "convert": ("input", "output"),
    "demo": (),
    "evaluate": ("segmentation", "labels"),
    "export_weights": ("checkpoint", "output"),
    "objects": ("input",),
    "postprocess": ("input", "output"),
    "predict": ("checkpoint", "input", "output"),
    "segment": ("input", "output"),
    "tune": ("input", "labels"),
    "view": (),
}
# They see the configuration: to make settings of it, and to write it down in the folder of the run.
READERS = ("run", "from_config")


def _configured(job: str, **fields: object):
    config = load_config(f"configs/{job}.py")
    for name in NEEDED[job]:
        config[name] = f"{name}.zarr"
    for name, value in fields.items():
        config[name] = value
    return config


def _settings(job: str, **fields: object):
    module = importlib.import_module(f"emjax.jobs.{job}.settings")
    return module.Settings.from_config(_configured(job, **fields))


@pytest.mark.parametrize("job", NEEDED)
def test_every_field_of_a_job_has_a_value_that_stays(job):
    settings, config = _settings(job), _configured(job)
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    if shared := values.pop("shared", None):
        assert isinstance(shared, VolumeSettings)
        values |= dataclasses.asdict(shared)
    # `job` is for the command, and a demo's `overwrite` for the folder of the run.
    assert set(config) - set(values) == {"job"} | ({"overwrite"} if job == "demo" else set())
    assert values == {name: config[name] for name in values}
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, next(iter(values)), "another")


@pytest.mark.parametrize(("job", "field"), [(j, f) for j, fields in NEEDED.items() for f in fields])
def test_addresses_that_have_to_be_given(job, field):
    what = "FOLDER" if job == "export_weights" else "ADDRESS"
    with pytest.raises(InputError, match=f"^{field} is empty; give --config.{field}={what}$"):
        _settings(job, **{field: ""})


@pytest.mark.parametrize(
    ("job", "field", "value", "words"),
    [
        ("convert", "halo", (1, 1, 1), r"halo=\(1, 1, 1\): blocks are copied without one"),
        ("convert", "levels", -1, "levels=-1 must be 1 or more, or 0"),
        ("convert", "chunk", (64, 64), r"chunk=\(64, 64\): needs three whole numbers"),
        ("convert", "shard", (64, 64, 0), r"shard=\(64, 64, 0\): needs three whole numbers"),
        ("convert", "kind", "label", "kind='label' is unknown; did you mean 'labels'"),
        ("convert", "dtype", "uint9", "dtype='uint9' is unknown; did you mean 'uint"),
        ("predict", "part", "4/4", r"part=4/4 must be I/N with I from 0 to N - 1"),
        ("predict", "cluster", "local", "cluster=local: accelerators share the blocks"),
        ("predict", "halo", (1, 1, 1), r"halo=\(1, 1, 1\): prediction reads what its tiles need"),
        ("predict", "dtype", "uint16", "dtype='uint16' is unknown; did you mean"),
        ("predict", "batch_size", -1, "batch_size=-1 must be 0 or more tiles"),
        ("segment", "num_workers", 0, "num_workers=0: must be at least 1"),
        ("objects", "halo", (1, 1, 1), r"halo=\(1, 1, 1\): a block reads one voxel around it"),
        ("postprocess", "halo", (1, 1, 1), r"halo=\(1, 1, 1\): a block reads what its operations"),
        ("postprocess", "operations", "fil", "operations: 'fil' is unknown; did you mean 'fill'"),
        ("tune", "cluster", "local", "cluster=local: settings are tried in this process"),
        ("tune", "metric", "vio", "metric='vio' is unknown; did you mean 'voi'"),
        ("evaluate", "kind", "instance", "kind='instance' is unknown; did you mean 'instances'"),
        ("evaluate", "halo", (1, 1, 1), r"halo=\(1, 1, 1\): evaluation reads what its scores need"),
        ("evaluate", "boundary_tolerance", -1.0, "boundary_tolerance=-1.0 must be 0 or more"),
        ("evaluate", "skeleton_merge_points", 0, "skeleton_merge_points=0 must be 1 or more"),
        ("view", "port", 65536, "port=65536 must be 1 to 65535, or 0"),
        ("view", "seconds", -1.0, "seconds=-1 must be 0 or more"),
        ("view", "skeleton_unit", "mm", "skeleton_unit=mm: give 'voxel', 'nm', 'um'"),
        ("view", "sections", "z=1", "sections=z=1 are of the picture; give --config.png"),
        ("view", "png", "a.jpg", "png=a.jpg must end in .png"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(job, field, value, words):
    with pytest.raises(InputError, match=f"^{words}") as refusal:
        _settings(job, **{field: value})
    assert "\n" not in str(refusal.value)


def test_shared_fields_are_refused_before_a_job_s_own():
    with pytest.raises(InputError, match="num_workers"):
        _settings("convert", num_workers=0, levels=-1)
    # But for the part of a prediction.
    with pytest.raises(InputError, match="part=x"):
        _settings("predict", num_workers=0, part="x")


def test_the_part_of_a_process():
    assert _settings("predict", part="1/4").rank_and_world == (1, 4)


def _functions_that_take_a_configuration(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            given = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            for one in (one for one in given if one is not None):
                kind = ast.unparse(one.annotation) if one.annotation else ""
                if one.arg == "config" or "ConfigDict" in kind:
                    yield node.name


def test_no_other_function_of_a_job_takes_the_configuration():
    source = (
        "def run(config: ConfigDict): ...\nclass A:\n    def f(self, *, c: 'ConfigDict'): ...\n"
    )
    assert list(_functions_that_take_a_configuration(source)) == ["run", "f"]
    folder = Path(emjax.jobs.__file__).parent
    # The package itself starts jobs.
    files = [path for path in folder.rglob("*.py") if path != folder / "__init__.py"]
    assert len(files) > 20
    for path in files:
        found = set(_functions_that_take_a_configuration(path.read_text()))
        assert found <= set(READERS), path
