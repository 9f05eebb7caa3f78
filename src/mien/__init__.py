"""mien: a workbench for facial expression recognition. Importing it loads no training library."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.errors import MienError
    from mien.runtime.recognizer import analyze, load

__all__ = ["MienError", "__version__", "analyze", "load"]
__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers unless this is set before it is loaded. mien tells nobody anything.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # Reading the version or the labels should cost neither OpenCV nor ONNX Runtime.
    if name in ("analyze", "load"):
        from mien.runtime import recognizer

        return getattr(recognizer, name)
    if name == "MienError":
        from mien.errors import MienError

        return MienError
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
