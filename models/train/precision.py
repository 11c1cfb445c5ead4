"""Which arithmetic a training multiplies in: what both trainings share."""

from __future__ import annotations

from pathlib import Path

import torch


def autocast(device: str) -> torch.autocast:
    """bfloat16 where the device has instructions for it. A CPU without takes up to twenty times as long as in float32."""
    cpu = Path("/proc/cpuinfo")
    there = device != "cpu" or (cpu.exists() and "avx512_bf16" in cpu.read_text().split())
    return torch.autocast(device, dtype=torch.bfloat16, enabled=there)
