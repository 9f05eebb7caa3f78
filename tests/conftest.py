"""What every test shares: one thread a worker, repeatable examples, a cache of its own, the real data where it is."""

import os

# Workers share the cores already: threads of the matrix libraries would only wait for one another. They read this once,
# when they are imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import queue
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, settings
from runs import RECIPE, mien

ROOT = Path(__file__).resolve().parent.parent

# A shell's background job ignores interrupts, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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
    for name in ("MIEN_MODELS", "COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        os.environ.pop(name, None)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and papers beside the project (`MIEN_SHARED`)."""
    folder = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "unpack.py").is_file():
        pytest.skip(f"real data is not at hand: no {folder}/data/unpack.py; set MIEN_SHARED")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe `small.yaml`, where the runs of a module lie."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "small.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A finished run of `small.yaml`."""
    mien("train", home / "small.yaml", "--out", home / "run")
    return home / "run"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a network that knows nothing."""
    import tiny

    return tiny.bundle(tmp_path_factory.mktemp("bundle") / "tiny.onnx")


@pytest.fixture
def recognizer(bundle: Path) -> Any:
    """The bundle as a recogniser that finds the squares of `films`."""
    from films import Squares

    from mien.runtime.recognizer import Recognizer

    return Recognizer(bundle, detector=Squares())


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a square that moves evenly."""
    from films import film

    return film(tmp_path_factory.mktemp("film") / "a film é.mp4", [step / 25 for step in range(50)])


@contextmanager
def no_thread_stays() -> Iterator[None]:
    """Fails where a thread that was started inside is still alive at the end; what others start or end is no matter."""
    before = set(threading.enumerate())
    yield
    assert not [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]


@contextmanager
def full_disk(limit: int = 9_000) -> Iterator[None]:
    """No file can grow past so many bytes inside, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A module that is imported inside would be kept cut off, and break every later import.
    writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = writing


def line_of(stream: IO[str], seconds: float = 120) -> str:
    """The next line that a process writes; fails where none comes in so long, which would hang the suite."""
    found: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: found.put(stream.readline()), daemon=True).start()
    try:
        return found.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"no line in {seconds:.0f} s") from None
