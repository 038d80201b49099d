"""Compiled loops: kept on disk, never stale, and usable where nothing can be written."""

from __future__ import annotations

import subprocess
import sys

import numba
import pytest

from emjax import compiled as module
from emjax.compiled import compiled


def test_what_is_compiled_computes_the_same():
    @compiled
    def triple(number):
        return 3 * number

    assert triple(14) == 42 == triple.py_func(14)


def _use(folder, factor):
    """Returns what a new process computes with `caller.py`, which calls a loop of `called.py`."""
    (folder / "called.py").write_text(
        f"from emjax.compiled import compiled\n\n@compiled\ndef scaled(number):\n    return {factor} * number\n"
    )
    (folder / "caller.py").write_text(
        "from called import scaled\nfrom emjax.compiled import compiled\n\n"
        "@compiled\ndef moved(number):\n    return scaled(number) + 1\n\nprint(moved(10))\n"
    )
    command = [sys.executable, "caller.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_a_caller_never_runs_the_old_copy_of_what_it_calls(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert _use(tmp_path, 2) == 21
    assert _use(tmp_path, 3) == 31
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_what_is_kept_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_cache_folder", lambda package: str(tmp_path))

    @compiled
    def quarter(number):
        return 0.25 * number

    assert not module.is_kept(quarter)
    assert quarter(2.0) == 0.5
    assert module.is_kept(quarter)
    # One without a place for a cache never is.
    assert not module.is_kept(numba.njit(lambda number: number))


def test_types_that_are_given_are_the_only_ones():
    half = compiled(lambda number: number / 2, signature="float64(int64)")
    assert half(5) == 2.5 and half(True) == 0.5
    assert len(half.signatures) == 1


def test_a_package_shares_a_cache_that_its_text_names():
    segmentation = module._ROOT / "segmentation"
    assert module._package(segmentation / "agglomerate.py") == segmentation
    assert module._package(module._ROOT / "volumes" / "write" / "pooling.py").name == "volumes"
    assert module._package(module._ROOT / "hash_table.py") == module._ROOT


def test_without_a_place_for_a_cache_the_loop_is_compiled_all_the_same(monkeypatch):
    real = numba.njit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'half': no locator available for file")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)

    @compiled
    def half(number):
        return number / 2

    assert half(7) == 3.5


def test_other_errors_of_numba_are_shown(monkeypatch):
    def njit(**options):
        raise RuntimeError("something else")

    monkeypatch.setattr(numba, "njit", njit)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(lambda number: number)
