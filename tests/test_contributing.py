"""The walks of CONTRIBUTING.md, followed to the letter in a copy of the source."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WALKS = {
    "source": ("Adding a source", "tests/test_sources.py", "kdef or every_source"),
    "chain step": ("Adding a chain step", "tests/test_chain.py", "gamma or every_step"),
    "backbone": ("Adding a backbone", "tests/test_backbones.py", "plain or every_backbone"),
}
_BLOCK = re.compile(r"^```(python|diff) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A file to write (`python`), or lines to add to one (`diff`)."""

    kind: str
    file: str
    text: str


def walk(heading: str) -> list[Block]:
    """The blocks of one section that name a file."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [Block(*found) for found in _BLOCK.findall(section)]


def apply(block: Block, root: Path) -> None:
    """Do in the copy what a block says; its context must be found exactly once."""
    path = root / block.file
    if block.kind == "python":
        assert not path.exists(), f"{block.file} exists already"
        path.write_text(block.text, encoding="utf-8")
        return
    for hunk in block.text.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] == " ")
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{block.file} does not hold once:\n{old}"
        path.write_text(text.replace(old, "".join(line[1:] for line in lines)), encoding="utf-8")


@pytest.mark.parametrize("kind", WALKS)
def test_a_walk_touches_a_module_a_catalogue_and_a_test(kind: str) -> None:
    blocks = walk(WALKS[kind][0])
    assert [block.kind for block in blocks] == ["python", "diff", "diff"]
    module, catalogue, test = (Path(block.file) for block in blocks)
    assert module.parts[:2] == catalogue.parts[:2] == ("src", "mien") and test.parts[0] == "tests"


def test_the_walks_end_under_their_contracts(tmp_path: Path) -> None:
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for heading, _, _ in WALKS.values():
        for block in walk(heading):
            apply(block, tmp_path)
    suites, chosen = [suite for _, suite, _ in WALKS.values()], " or ".join(words for _, _, words in WALKS.values())
    # One run for all three: most of its time goes into the import of the training libraries.
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-vv", *suites, "-k", chosen],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for _, suite, words in WALKS.values():
        added, contract = words.split(" or ")
        passed = [line for line in done.stdout.splitlines() if line.startswith(suite) and "PASSED" in line]
        assert sum(added in line for line in passed) >= 3, done.stdout
        assert any(contract in line for line in passed), done.stdout


def test_the_written_modules_are_in_the_style_of_the_house(tmp_path: Path) -> None:
    for heading, _, _ in WALKS.values():
        for block in walk(heading):
            if block.kind == "python":
                (tmp_path / Path(block.file).name).write_text(block.text, encoding="utf-8")
    settings = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    for check in (["check"], ["format", "--check"]):
        # From the root, where ruff knows which package is our own.
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, *settings], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
