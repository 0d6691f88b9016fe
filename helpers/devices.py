"""What computes: GPUs, processors, and the number format that suits them."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import keras


def has_gpu() -> bool:
    """Return True if Keras's backend sees a GPU."""
    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        return sys.modules["torch"].cuda.is_available()
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX without one
        return False


def hardware() -> str:
    """Return what computes: the GPU's name, or the processor's and its number of cores."""
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(query, capture_output=True, check=True, timeout=20).stdout if has_gpu() else b""
    except (OSError, subprocess.SubprocessError):
        gpu = b"GPU"
    cpu = re.search(r"model name\s*: (.+)", _cpuinfo())
    names = ", ".join(gpu.decode(errors="replace").strip().split("\n"))
    return names or f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores"


def fast_dtype_policy() -> str:
    """Return "mixed_bfloat16" where the CPU computes bfloat16 natively (it helps the large network), else "float32"."""
    native = any(flag in _cpuinfo() for flag in ("avx512_bf16", "amx_bf16"))
    return "mixed_bfloat16" if native and not has_gpu() else "float32"


def _cpuinfo():
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
