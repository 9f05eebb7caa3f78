"""What every test shares: the real data, where it is at hand."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and papers beside the project (`MIEN_SHARED`)."""
    folder = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "unpack.py").is_file():
        pytest.skip(f"real data is not at hand: no {folder}/data/unpack.py; set MIEN_SHARED")
    return folder
