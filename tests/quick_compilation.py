"""Options with which programs compile two to three times as fast, and run slower; for tests that wait for compilers."""

from __future__ import annotations

from typing import Any

import jax

from emjax.parallel.compile import cpu_compiler_options


def quick_options() -> dict[str, Any]:
    """Returns the options of `emjax.parallel.compile`, with those that leave out optimizations."""
    options = cpu_compiler_options() | {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    # What jaxlib 0.11 knows no more.
    if jax.__version_info__ < (0, 11):
        options["xla_cpu_use_fusion_emitters"] = False
    return options
