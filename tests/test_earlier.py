"""Runs that start from earlier ones or learn from them."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from runs import RECIPE, metrics, mien

from mien import experiment
from mien.errors import RunError
from mien.judging.finished import finished
from mien.recipe import parse
from mien.run import earlier
from mien.runtime.bundle import load as load_bundle
from mien.training.backbones import build
from mien.training.spec import Model

# Libraries warn of their own future here and there; in a run that is theirs to say and no failure of ours.
pytestmark = pytest.mark.filterwarnings("default")


def test_a_run_goes_on_from_an_earlier_one_and_learns_from_it(home: Path, run: Path) -> None:
    words = ["train", home / "small.yaml", "--set", "model.transfer=full", "--set", f"model.weights={run}"]
    mien(*words, "--set", f"fit.teachers=[{run}]", "--out", home / "taught")
    assert metrics(home / "taught")["test"]["labels"] == metrics(run)["test"]["labels"]
    mien("export", home / "taught", "--out", home / "taught.onnx", "--card", home / "taught.md")
    assert f"; started from `{run.name}`; taught by `{run.name}`." in (home / "taught.md").read_text()


def test_a_run_takes_over_what_an_earlier_one_knows_of_its_labels_by_name(home: Path, run: Path) -> None:
    recipe = yaml.safe_load(RECIPE) | {"model": {"backbone": "mien-tiny", "transfer": "full", "weights": str(run)}}
    start = experiment.gather(parse(recipe)).material
    labels = ("surprise", "anger", *start.samples.labels[2:-1], "pain")
    deeper = build(Model(backbone="mien-tiny", head=(9,)), 1, (24, 24), len(labels))
    untouched = deeper.head[-1].weight.clone()
    earlier.fill_output(deeper, run, labels)
    assert torch.equal(deeper.head[-1].weight, untouched), "a head of another shape is no source of its last layer"
    network = build(Model(backbone="mien-tiny"), 1, (24, 24), len(labels))
    before = network.head[-1].weight.clone()
    earlier.fill_output(network, run, labels)
    known = finished(run)
    for place, label in enumerate(labels):
        theirs = known.network.head[-1].weight[known.labels.index(label)] if label in known.labels else before[place]
        assert torch.equal(network.head[-1].weight[place], theirs)


def test_a_run_teaches_with_its_own_answers_also_on_smaller_pictures(home: Path, run: Path) -> None:
    recipe = parse(yaml.safe_load(RECIPE) | {"fit": {"teachers": [str(run)]}})
    known = finished(run)
    asked, flat = earlier.teacher(str(run), recipe, known.labels), torch.full((2, 1, 24, 24), 0.25)
    with torch.no_grad():
        assert torch.allclose(asked(flat[..., :16, :16]), known.network(flat), atol=1e-4)


@pytest.mark.parametrize("within", ["", "/checkpoints/best.pt"])
@pytest.mark.parametrize("chain", ["[grey, {resize: 24}]", "[colour, {resize: 24}, {normalise: imagenet}]"])
def test_a_run_whose_pictures_are_normalised_otherwise_is_no_start(
    home: Path, run: Path, within: str, chain: str
) -> None:
    words = ["--set", "model.transfer=full", "--set", f"model.weights={run}{within}", "--set", f"chain={chain}"]
    said = mien("train", home / "small.yaml", *words, "--out", home / "other-chain", check=1).stderr
    assert "takes other pictures than the chain makes" in said and not (home / "other-chain").exists()


def test_grey_pictures_follow_on_colour_ones_where_they_can_be_normalised_alike(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "start")
    kept, start = tmp_path / "start" / "recipe.yaml", yaml.safe_load((run / "recipe.yaml").read_text())
    model = {"backbone": "mien-tiny", "transfer": "full", "weights": str(tmp_path / "start")}

    def check(theirs: list[object], ours: list[object]) -> None:
        kept.write_text(yaml.safe_dump(start | {"chain": theirs}))
        earlier.check(parse(yaml.safe_load(RECIPE) | {"chain": ours, "model": model}))

    grey, colour = (["grey", {"resize": 24}], ["colour", {"resize": 24}])
    half, imagenet = ({"normalise": name} for name in ("half", "imagenet"))
    check([*grey, half], [*colour, half])
    check([*colour, half], [*grey, half])
    check([*colour, imagenet], [*grey, half])  # grey pictures cannot have three scales
    with pytest.raises(RunError, match="takes other pictures"):
        check([*colour, half], grey)


def test_an_unfinished_run_is_no_start(home: Path, run: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(run, begun, ignore=shutil.ignore_patterns("metrics.json"))
    words = ["--set", "model.transfer=full", "--set", f"model.weights={begun}", "--out", tmp_path / "on"]
    said = mien("train", home / "small.yaml", *words, check=1).stderr
    assert f"the earlier run {begun} is not a finished run" in said and f"mien train {begun} --resume" in said
    assert not (tmp_path / "on").exists()


def test_a_run_goes_on_from_a_bundle_and_learns_from_it(home: Path, run: Path) -> None:
    bundle = home / "earlier.onnx"
    mien("export", run, "--out", bundle)
    words = ["--set", "model.transfer=full", "--set", f"model.weights={bundle}", "--set", f"fit.teachers=[{bundle}]"]
    mien("train", home / "small.yaml", *words, "--set", "fit.learning_rate=1e-9", "--out", home / "on-bundle")
    told = [note for note in metrics(home / "on-bundle")["notes"] if note.startswith("earlier-run-without-list")]
    assert len(told) == 1 and str(bundle) in told[0]
    before, after = (pd.read_parquet(folder / "predictions.parquet") for folder in (run, home / "on-bundle"))
    assert (before["predicted"] == after["predicted"]).mean() > 0.9, "a fit that learns nothing answers as the bundle"
    mien("export", home / "on-bundle", "--out", home / "after.onnx", "--card", home / "after.md")
    said = load_bundle(bundle).info
    card = (home / "after.md").read_text()
    assert f"; started from `earlier.onnx` ({said.training_data}); taught by `earlier.onnx`" in card


@pytest.mark.parametrize(
    "taken",
    [
        "model.transfer=full model.weights={}",
        "model.transfer=full model.weights={}/checkpoints/best.pt",
        "model.transfer=full model.weights={}/checkpoints/last.ckpt",
        "fit.teachers=[{}]",
    ],
)
def test_what_an_earlier_run_was_fitted_on_is_not_held_out_here(home: Path, run: Path, taken: str) -> None:
    changes = [word for part in taken.format(run).split() for word in ("--set", part)]
    other = ["--set", "split.method=stratified", "--set", "split.seed=9", "--out", home / "leaky"]
    said = mien("train", home / "small.yaml", *changes, *other, check=3).stderr
    assert "held-out-seen-by-earlier-run" in said and str(run) in said


def test_an_earlier_run_that_is_gone_is_told_when_judged_elsewhere(home: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "start")
    words = ["--set", "model.transfer=full", "--set", "fit.epochs=1", "--set", f"model.weights={tmp_path / 'start'}"]
    mien("train", home / "small.yaml", *words, "--out", tmp_path / "after")
    shutil.rmtree(tmp_path / "start")
    other = ["--source", "synthetic", "--option", "count=30", "--option", "size=24", "--option", "seed=8"]
    notes = json.loads(mien("evaluate", tmp_path / "after", *other, "--split", "all", "--json").stdout)["notes"]
    assert f"{tmp_path / 'start'}, which the model builds on, keeps no list of its training pictures" in notes[0]


def test_that_an_earlier_run_keeps_no_list_of_its_pictures_is_told(home: Path, run: Path) -> None:
    bare = home / "bare"
    shutil.copytree(run / "checkpoints", bare / "checkpoints")
    words = ["train", home / "small.yaml", "--set", "model.transfer=full", "--set", "fit.epochs=1"]
    given = ["--set", f"model.weights={bare / 'checkpoints' / 'best.pt'}"]
    mien(*words, *given, "--out", home / "on-bare")
    assert any(note.startswith("earlier-run-without-list") for note in metrics(home / "on-bare")["notes"])
    said = mien(*words, *given, "--set", "audit=strict", "--out", home / "strictly-on-bare", check=3).stderr
    assert "earlier-run-without-list" in said and str(bare) in said


def test_a_file_of_weights_that_was_carried_off_keeps_no_list(home: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "checkpoints" / "best.pt", tmp_path / "loose.pt")
    words = ["train", home / "small.yaml", "--set", "model.transfer=full", "--set", "fit.epochs=1"]
    words += ["--set", f"model.weights={tmp_path / 'loose.pt'}", "--set", "audit=strict", "--out", tmp_path / "on"]
    said = mien(*words, check=3).stderr
    assert "earlier-run-without-list" in said and "name the folder of its run" in said


def test_a_folder_of_runs_is_no_run_to_start_from(home: Path, tmp_path: Path) -> None:
    several = ["--set", "seeds=[0, 1]", "--set", "fit.epochs=1", "--out", tmp_path / "often"]
    mien("train", home / "small.yaml", *several)
    for key in ("model.weights={}", "fit.teachers=[{}]"):
        words = ["--set", "model.transfer=full"] * key.startswith("model") + ["--set", key.format(tmp_path / "often")]
        said = mien("train", home / "small.yaml", *words, "--out", tmp_path / "on", check=1).stderr
        assert "a folder of runs" in said and str(tmp_path / "often" / "seed-1") in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fit.teachers=[nowhere]", "not a finished run"),
        ("data.classes=[happiness,sadness]", "other classes"),
        ("chain=[grey,{resize: 32},{normalise: half}]", "another chain"),
    ],
)
def test_a_teacher_of_something_else_is_refused(home: Path, run: Path, change: str, said: str) -> None:
    words = ["train", home / "small.yaml", "--set", f"fit.teachers=[{run}]", "--set", change]
    assert said in mien(*words, "--out", home / said.replace(" ", "-"), check=1).stderr
