"""What the devices of this process can do and how full they are."""

from __future__ import annotations

from collections.abc import Iterable

import jax

# Dense bfloat16 FLOP/s of one JAX device, by the kind that JAX names.
# Source: the data sheets: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e}; "NVIDIA A100", "NVIDIA H100" and "NVIDIA H200
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
    """Returns the bfloat16 FLOP/s that a device can do at most; None where that is not known, as for CPUs."""
    kind = device.device_kind
    if kind in PEAK_FLOPS:
        return PEAK_FLOPS[kind]
    # GPUs add their memory to the name: 'NVIDIA H100 80GB HBM3'. No TPU does, and 'TPU v5' begins 'TPU v5 lite'.
    found = [name for name in PEAK_FLOPS if name.startswith("NVIDIA") and kind.startswith(name)]
    return PEAK_FLOPS[max(found, key=len)] if found else None


def peak_memory(devices: Iterable[jax.Device]) -> int | None:  # pyright: ignore[reportInvalidTypeForm]
    """Returns the most bytes that any of these devices has held; None where they do not say, as CPUs."""
    stats = [device.memory_stats() or {} for device in devices]
    found = [entry["peak_bytes_in_use"] for entry in stats if "peak_bytes_in_use" in entry]
    return max(found, default=None)
