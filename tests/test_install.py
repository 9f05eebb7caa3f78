"""The wheel: what is in it, and what the base install alone, in an environment of its own, can do."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from conftest import ROOT

from mien import __version__

PACKAGE = ROOT / "src" / "mien"
LARGEST = 350e6
NOT_IN_BASE = ("torch", "torchvision", "timm", "lightning", "pandas", "sklearn", "matplotlib", "scipy", "PIL", "av")


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the backend itself, so that nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_and_the_citation_carry_the_version_of_the_package(wheel: Path) -> None:
    assert wheel.name.startswith(f"mien-{__version__}-")
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text().splitlines()


@pytest.fixture(scope="session")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the base install and nothing else."""
    found = shutil.which("uv") or shutil.which(str(ROOT / ".venv-uv" / "bin" / "uv"))
    if found is None:
        pytest.skip("uv is not at hand, which makes the environment")
    folder = tmp_path_factory.mktemp("base") / "env"
    made = run(found, "venv", "--quiet", "--python", sys.executable, folder)
    assert made.returncode == 0, made.stderr
    python = folder / "bin" / "python"
    # First from what `make test` has fetched, at the versions of the lock; then from wherever packages come from.
    install = (found, "pip", "install", "--quiet", "--python", python, "--constraint", pinned(folder.parent), wheel)
    done = run(*install, "--offline")
    if done.returncode:
        done = run(*install)
    assert done.returncode == 0, done.stderr
    return python


def pinned(folder: Path) -> Path:
    """The versions of the lock, without their hashes: the wheel under test has none there."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    path = folder / "constraints.txt"
    path.write_text("\n".join(line.rstrip(" \\") for line in lines if line[:1].isalnum()) + "\n", encoding="utf-8")
    return path


def mien(base: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return run(base.parent / "mien", *words)


def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"mien/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = {name for name in inside if ".dist-info/" in name}
    assert inside - about == ours
    for kind in ("recipes/*.yaml", "recipes/studies/*.yaml", "evaluation/report/templates/*.j2"):
        assert list(PACKAGE.glob(kind)), kind


def test_the_wheel_carries_its_licence_and_its_readme(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
    text = archive.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text and "# mien" in text


def test_the_base_is_small(base: Path) -> None:
    files = [path for path in base.parent.parent.rglob("*") if path.is_file() and not path.is_symlink()]
    assert 0 < sum(path.stat().st_size for path in files) < LARGEST


def test_the_base_imports_what_it_promises_and_nothing_heavy(base: Path) -> None:
    script = """
import json, pkgutil, sys
from importlib import import_module, util
import mien, mien.imaging, mien.runtime, mien.cli
for room in (mien.imaging, mien.runtime):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        import_module(module.name)
absent, loaded = json.loads(sys.argv[1]), sys.modules
print(json.dumps([[name for name in absent if util.find_spec(name)], [name for name in absent if name in loaded]]))
"""
    done = run(base, "-c", script, json.dumps(NOT_IN_BASE))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], []]


def test_nobody_is_told_of_the_use_of_a_model(base: Path, tmp_path: Path) -> None:
    words = [base, "-c", "import mien, numpy; mien.analyze(numpy.zeros((60, 60), numpy.uint8))"]
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "MIEN_"))}
    subprocess.run(words, check=True, env=unset | {"HOME": str(tmp_path)}, cwd=tmp_path)
    assert list(tmp_path.rglob("*")) == [], "ONNX Runtime keeps what it will send to its makers in the home folder"


def test_importing_mien_loads_no_library_at_all_where_all_are_installed() -> None:
    heavy = ("cv2", "onnxruntime", "numpy", *NOT_IN_BASE)
    script = f"import sys, mien; print([name for name in {heavy!r} if name in sys.modules])"
    assert run(sys.executable, "-c", script).stdout.strip() == "[]"


def test_the_recogniser_loads_no_training_library_where_all_are_installed() -> None:
    script = f"""
import sys
import mien.cli, mien.imaging.chain, mien.runtime.predict, mien.runtime.recognizer
print([name for name in {NOT_IN_BASE!r} if name in sys.modules])
"""
    assert run(sys.executable, "-c", script).stdout.strip() == "[]"


def test_the_base_has_the_command_line_whole(base: Path) -> None:
    done = mien(base, "--help")
    assert done.returncode == 0, done.stderr
    assert {"predict", "models", "train", "audit"} <= set(done.stdout.split())


def test_the_base_predicts(base: Path, tmp_path: Path) -> None:
    tiny.bundle(tmp_path / "tiny.onnx")
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    done = mien(base, "predict", tmp_path / "face.png", "--model", tmp_path / "tiny.onnx", "--crop", "whole", "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["faces"][0]["expression"] in tiny.LABELS


def test_the_base_reads_portraits_with_a_model_that_ships(base: Path, shared: Path) -> None:
    done = mien(base, "predict", shared / "data" / "portraits" / "images", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert sum(bool(result["faces"]) for result in results) > 0.7 * len(results)


def test_the_base_reads_a_video_made_from_portraits(base: Path, shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="making the video needs the video extra")
    from mien.imaging.decode import decode
    from mien.imaging.operations import colour, resize
    from mien.runtime.video import writing

    with writing(tmp_path / "people.mp4", 25) as write:
        for step, path in enumerate(sorted((shared / "data" / "portraits" / "images").iterdir())[:20]):
            write(step / 25, resize(colour(decode(path)), 280, 280))
    done = mien(base, "predict", tmp_path / "people.mp4", "--json")
    assert done.returncode == 0 and "mien[video]" in done.stderr, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [result["time"] for result in results] == pytest.approx([step / 25 for step in range(20)], abs=1e-3)
    assert sum(bool(result["faces"]) for result in results) >= 12


@pytest.mark.parametrize("words", [("demo",), ("data", "stats", "synthetic"), ("report", ".")])
def test_what_needs_an_extra_names_it(base: Path, words: tuple[str, ...]) -> None:
    done = mien(base, *words)
    assert done.returncode == 1
    assert "mien[train]" in done.stderr and "Traceback" not in done.stderr
