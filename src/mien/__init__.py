"""mien: a workbench for facial expression recognition. Importing it loads no training library."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.runtime.recognizer import analyze, load

__all__ = ["__version__", "analyze", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Reading the version or the labels should cost neither OpenCV nor ONNX Runtime.
    if name in ("analyze", "load"):
        from mien.runtime import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f"module 'mien' has no attribute {name!r}")
