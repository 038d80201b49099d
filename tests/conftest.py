"""Shared set-up: 8 virtual CPU devices, strict key reuse, parsed flags, and the real data where it is there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from absl import flags

# Must come before the first use of a device.
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_debug_key_reuse", True)

# What a script starts in the background ignores Ctrl-C, and so would every process that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# grain reads absl flags even in a process that never parsed any.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real EM volumes beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real EM volumes (../shared/data) are not on this machine")
    return SHARED_DATA
