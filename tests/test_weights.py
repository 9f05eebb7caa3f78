"""The bundles that ship: small, described, as accurate as they say, with a card each."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.runtime import bundle
from mien.runtime.recognizer import Recognizer

ROOT = Path(__file__).resolve().parent.parent


def test_the_default_ships() -> None:
    assert "ferplus" in bundle.names()


@pytest.mark.parametrize("name", bundle.names())
def test_a_bundle_is_small_and_says_what_it_is(name: str) -> None:
    found = bundle.load(name)
    assert found.size < 4e6
    assert found.info.name == name
    assert found.info.licence and found.info.training_data and found.info.recipe_digest
    assert 0 < found.info.figures["test"]["accuracy"]["low"] < found.info.figures["test"]["accuracy"]["value"]
    assert not found.info.flip, "one forward pass"


@pytest.mark.parametrize("name", bundle.names())
def test_it_was_made_by_the_recipe_of_its_name(name: str) -> None:
    pytest.importorskip("torch", reason="recipes need the train extra")
    from mien.recipe import load

    assert bundle.load(name).info.recipe_digest == load(Path(f"models/{name}")).digest


@pytest.mark.parametrize("name", bundle.names())
def test_its_card_states_the_same_figures(name: str) -> None:
    text = (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8")
    accuracy = bundle.load(name).info.figures["test"]["accuracy"]
    assert f"{accuracy['value']:.1%}" in text and f"{accuracy['low']:.1%} to {accuracy['high']:.1%}" in text
    assert "does not measure what a person feels" in text


@pytest.mark.parametrize("name", bundle.names())
def test_its_card_names_the_mild_corruption_that_costs_most(name: str) -> None:
    text = (ROOT / "docs" / "models" / f"{name}.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.partition("## Robustness")[2].splitlines() if "%" in line]
    mild = {row[0]: float(row[2].rstrip("%")) for row in rows if len(row) == 6}
    worst = min(mild, key=mild.__getitem__)
    assert f"Hurt most by {worst} ({mild[worst]:.1f}% at strength 2)" in text


def test_the_default_reads_real_test_pictures(shared: Path, tmp_path: Path) -> None:
    words = [sys.executable, shared / "data" / "unpack.py", tmp_path, "--layout", "arrays", "--limit", "500"]
    subprocess.run(words, check=True, capture_output=True)
    images, votes = np.load(tmp_path / "images.npy"), np.load(tmp_path / "votes.npy")[:, :8]
    names = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
    clear = (np.load(tmp_path / "usage.npy") == "PrivateTest") & (votes.max(axis=1) > 5)
    answers = Recognizer(bundle.load("ferplus"), crop="whole").analyze(list(images[clear]))
    right = [a.faces[0].expression == names[v] for a, v in zip(answers, votes[clear].argmax(axis=1), strict=True)]
    assert np.mean(right) > 0.75
