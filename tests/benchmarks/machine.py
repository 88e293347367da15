"""What the machine and its libraries are."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx512_fp16", "amx_bf16", "amx_int8")
PACKAGES = ("torch", "torchvision", "torchaudio", "av", "numpy", "merclip")
PEERS = ("open_clip_torch", "transformers", "opencv-python-headless", "pillow")


def describe() -> dict[str, Any]:
    """Return what a reader needs to compare figures with those of another machine."""
    flags = cpu_flags()
    return {
        "processor": _cpu_field("model name") or platform.processor() or platform.machine(),
        "family and model": _family(),
        "flags": [flag for flag in TELLING if flag in flags],
        "cores": n_cores(),
        "memory, GiB": _memory(),
        "torch threads": torch.get_num_threads(),
        "matrix libraries": _libraries(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in (*PACKAGES, *PEERS)},
    }


def n_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """Return the processor's flags, as Linux names them; none are known elsewhere."""
    return set((_cpu_field("flags") or "").split())


def _family() -> str:
    return f"{_cpu_field('cpu family') or '?'}, {_cpu_field('model') or '?'}"


def _cpu_field(name: str) -> str | None:
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(rf"^{re.escape(name)}\s*:\s*(.*)$", text, re.MULTILINE)
    return found.group(1) if found else None


def _memory() -> float | None:
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _libraries() -> str:
    shown = torch.__config__.show()
    found = re.findall(r"(?:Math Kernel Library Version|MKL-DNN) v?([\d.]+)", shown)
    return ", ".join(
        f"{name} {number}" for name, number in zip(("MKL", "oneDNN"), found, strict=False)
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
