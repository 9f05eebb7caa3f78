"""What every test shares: one thread a worker, repeatable examples, a cache of its own, the real data where it is."""

import os

# Workers share the cores already: threads of the matrix libraries would only wait for one another. They read this once,
# when they are imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run, and none refused for the time it took on a busy machine.
settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the tests, so that they neither read nor fill the user's."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["MIEN_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and papers beside the project (`MIEN_SHARED`)."""
    folder = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "unpack.py").is_file():
        pytest.skip(f"real data is not at hand: no {folder}/data/unpack.py; set MIEN_SHARED")
    return folder


@contextmanager
def no_thread_stays() -> Iterator[None]:
    """Fails where a thread that was started inside is still alive at the end; what others start or end is no matter."""
    before = set(threading.enumerate())
    yield
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
