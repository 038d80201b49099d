from __future__ import annotations

import jax
import pytest

from emjax.errors import InputError
from emjax.parallel import runtime


def test_one_process_needs_nothing(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_: pytest.fail("initialised"))
    monkeypatch.setattr(runtime, "_TPU_DEVICES", ())
    runtime.initialize()
    runtime.initialize(num_processes=1)
    assert runtime.is_main() and runtime.agree(7) == 7
    runtime.wait_for_all("here")


def test_incomplete_flags():
    with pytest.raises(InputError, match="--coordinator, --num_processes and --process_id"):
        runtime.initialize("localhost:1")
    with pytest.raises(InputError, match="--process_id=2 must be in 0 to 1"):
        runtime.initialize("localhost:1", 2, 2)


def test_cluster_without_others(monkeypatch):
    def fail() -> None:
        raise ValueError("coordinator_address should be defined")

    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(InputError, match="--num_processes=1"):
        runtime.initialize()
    monkeypatch.setenv("COLAB_RELEASE_TAG", "1")
    runtime.initialize()


def test_cache_folder(tmp_path, monkeypatch):
    old = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        runtime.use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir.startswith(str(tmp_path / "emjax" / "compiled"))
    finally:
        jax.config.update("jax_compilation_cache_dir", old)
