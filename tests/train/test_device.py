"""What is known of devices by their names."""

from __future__ import annotations

import types

import jax
import pytest

from emjax.train.device import peak_flops, peak_memory


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("TPU v5", 459e12),
        ("TPU v5 lite", 197e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("TPU v5 unheard of", None),
        ("cpu", None),
    ],
)
def test_peaks(kind, peak):
    assert peak_flops(types.SimpleNamespace(device_kind=kind)) == peak


def test_memory_is_that_of_the_fullest():
    devices = [
        types.SimpleNamespace(memory_stats=lambda n=n: {"peak_bytes_in_use": n}) for n in (5, 9, 2)
    ]
    assert peak_memory(devices) == 9
    assert peak_memory(jax.devices("cpu")) is None
