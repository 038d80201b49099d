"""Peak arithmetic rate and memory use of the devices of this process."""

from __future__ import annotations

from collections.abc import Iterable

import jax

# Kind of device, as JAX names it -> dense bfloat16 FLOP/s of one JAX device.
# Source: the data sheets cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}; "NVIDIA A100", "NVIDIA H100" and "NVIDIA H200
# Tensor Core GPU" (without sparsity).
PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
}


def peak_flops(device: jax.Device) -> float | None:  # pyright: ignore[reportInvalidTypeForm]
    """Returns the peak bfloat16 FLOP/s of a device; None if it is unknown, as for CPUs."""
    kind = device.device_kind
    if kind in PEAK_FLOPS:
        return PEAK_FLOPS[kind]
    # Prefixes only for GPUs, whose names also say their memory ('NVIDIA H100 80GB HBM3'); of TPUs, 'TPU v5' is a prefix
    # of the different 'TPU v5 lite'.
    found = [name for name in PEAK_FLOPS if name.startswith("NVIDIA") and kind.startswith(name)]
    return PEAK_FLOPS[max(found, key=len)] if found else None


def peak_memory(devices: Iterable[jax.Device]) -> int | None:  # pyright: ignore[reportInvalidTypeForm]
    """Returns the most memory that any of the devices has held, bytes; None if they do not report it, as CPUs."""
    stats = [device.memory_stats() or {} for device in devices]
    found = [entry["peak_bytes_in_use"] for entry in stats if "peak_bytes_in_use" in entry]
    return max(found, default=None)
