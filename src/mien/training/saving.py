"""Tensors as files, whole or absent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mien.files import replacing


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write a state dict or a checkpoint whole or not at all. Raises DataError when the disk is full."""
    with replacing(path) as beside, beside.open("wb") as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as failure:
            # What the disk said is hidden behind an error of torch's own archive writer.
            if isinstance(failure.__context__, OSError):
                raise failure.__context__ from None
            raise
