from __future__ import annotations

import os
import zlib
from pathlib import Path

import imagecodecs
import jax

from emjax.parallel import compiled_programs


def test_cache_folder(tmp_path, monkeypatch):
    old = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        compiled_programs.use_compilation_cache()
        folder = jax.config.jax_compilation_cache_dir
        assert folder.startswith(str(tmp_path / "emjax" / "compiled"))
        # Another instruction set of the same machine has another folder.
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
        compiled_programs.use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir != folder
    finally:
        jax.config.update("jax_compilation_cache_dir", old)


def test_programs_that_were_cut_off_are_deleted_and_others_stay(tmp_path: Path) -> None:
    # JAX's own files: what was compiled, with its time before it, compressed.
    program = os.urandom(5000)
    packed = {"a": zlib.compress(program), "b": imagecodecs.zstd_encode(program)}
    for name, data in packed.items():
        (tmp_path / f"{name}-whole-cache").write_bytes(data)
        (tmp_path / f"{name}-torn-cache").write_bytes(data[:-9])
    (tmp_path / "a-zeros-cache").write_bytes(packed["a"][:100] + bytes(5000))
    (tmp_path / "empty-cache").write_bytes(b"")
    (tmp_path / "a-whole-atime").write_bytes(b"12345678")
    expected = ["a-torn-cache", "a-zeros-cache", "b-torn-cache", "empty-cache"]
    assert compiled_programs.remove_torn(tmp_path) == expected
    assert not set(expected) & set(os.listdir(tmp_path)) and len(os.listdir(tmp_path)) == 4
    # What was found whole is not read again.
    (tmp_path / "a-whole-cache").write_bytes(b"x")
    os.utime(tmp_path / "a-whole-cache", (1, 1))
    assert compiled_programs.remove_torn(tmp_path) == []


def test_what_jax_keeps_is_whole(tmp_path: Path) -> None:
    """Would fail if JAX changed its file names or its compression."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    from jax.experimental.compilation_cache import compilation_cache

    old = [getattr(jax.config, name) for name in names]
    try:
        jax.config.update(names[0], str(tmp_path))
        jax.config.update(names[1], 0)
        compilation_cache.reset_cache()
        jax.jit(lambda x: x * 3 + 1)(2.0)
        (file,) = tmp_path.glob("*-cache")
        assert compiled_programs.remove_torn(tmp_path) == []
        file.write_bytes(file.read_bytes()[:-20])
        assert compiled_programs.remove_torn(tmp_path) == [file.name]
    finally:
        for name, value in zip(names, old, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
