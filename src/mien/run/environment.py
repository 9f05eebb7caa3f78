"""Where a run happened: versions, processor, threads. Nothing that names a person or a place."""

import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mien.runtime.ahead import cores

_PACKAGES = (
    "mien", "numpy", "opencv-python-headless", "torch", "torchvision", "timm", "lightning", "scikit-learn",
    "pandas", "onnxruntime",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """The machine and the software, JSON-able."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "gpu": _gpu(),
        "cores": cores(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _gpu() -> str | None:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    found = ""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as stream:  # noqa: PTH123
        found = next((line.partition(":")[2].strip() for line in stream if line.startswith("model name")), "")
    return found or platform.processor()
