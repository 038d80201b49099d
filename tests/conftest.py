"""Shared set-up: 8 virtual CPU devices, strict key reuse, quick compilation, and the real data where it is there."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Also what takes less than JAX's default of a second is kept for later tests and the processes that they start.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import pytest
from absl import flags

from emjax.parallel import compile as compile_module
from emjax.parallel.compiled_programs import use_compilation_cache

from .quick_compilation import quick_options

# Must come before the first use of a device.
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_debug_key_reuse", True)
use_compilation_cache()

# What a script starts in the background ignores Ctrl-C, and so would every process that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# grain reads absl flags even in a process that never parsed any.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

# Folders of tests that compile much and run little: networks are trained for a few steps, commands tried.
QUICKLY_COMPILED = ("augment", "jobs", "launch", "tasks")
_SETTING = "JAX_DISABLE_MOST_OPTIMIZATIONS"
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real EM volumes beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real EM volumes (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(autouse=True, scope="module")
def compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compiles two to three times as fast, to slower programs, where that is what tests wait for.

    Elsewhere, programs are those of users: tests of bits and of numbers.
    """
    quick = request.path.relative_to(Path(__file__).parent).parts[0] in QUICKLY_COMPILED
    if quick != (os.environ.get(_SETTING) == "1"):
        # Also of the processes that tests start.
        os.environ[_SETTING] = str(int(quick))
        jax.config.update(_SETTING.lower(), quick)
        # JAX does not ask how a program was compiled before it calls it again.
        jax.clear_caches()
    with pytest.MonkeyPatch.context() as patch:
        if quick:
            options = quick_options()
            patch.setattr(compile_module, "cpu_compiler_options", lambda: options)
        yield
