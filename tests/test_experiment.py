"""Runs through the command line, from data to report: figures, resumption, honesty, and bad input."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from layouts import FERPLUS_FOLDERS, VOTES_HEADER
from torch import nn
from typer.testing import CliRunner

from mien import experiment
from mien.cli import app
from mien.errors import MienError
from mien.evaluation import calibration, ledger
from mien.evaluation.report.folder import read_run
from mien.evaluation.report.methods import sentences
from mien.evaluation.report.works import references
from mien.evaluation.robustness import corrupt
from mien.files import alone
from mien.imaging import operations
from mien.imaging.chain import Chain
from mien.imaging.decode import decode
from mien.imaging.faces import YuNetDetector, largest
from mien.imaging.framing import Framing, frame
from mien.imaging.models import find
from mien.judging.elsewhere import crossed
from mien.judging.finished import finished, rows_of
from mien.recipe import Data, Dataset, load, parse
from mien.rows import read, remembering
from mien.run import earlier, inherited, leaks
from mien.runtime.bundle import load as load_bundle
from mien.runtime.recognizer import Recognizer
from mien.training.backbones import build
from mien.training.fit import predict
from mien.training.spec import Model

RECIPE = """
name: small
data:
  source: synthetic
  options: {count: 240, size: 24, seed: 3}
chain: [grey, {resize: 24}, {normalise: half}]
augment: {rotation: 5, flip_horizontal: 0.5}
model: {backbone: mien-tiny}
fit: {epochs: 2, batch: 32, ema: 0.9}
evaluate: {bootstrap: 100}
"""


# Libraries warn of their own future here and there; in a run that is theirs to say and no failure of ours.
pytestmark = pytest.mark.filterwarnings("default")


class Said(NamedTuple):
    stdout: str
    stderr: str


def mien(*words: object, check: int = 0) -> Said:
    """The command line in this process, since every new one would import the training libraries anew."""
    done = CliRunner().invoke(app, [*map(str, words)])
    code, stderr = done.exit_code, done.stderr
    if isinstance(done.exception, MienError):
        code, stderr = done.exception.exit_code, str(done.exception)
    elif done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code == check, stderr + done.stdout
    return Said(done.stdout, stderr)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "small.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    mien("train", home / "small.yaml", "--out", home / "run")
    return home / "run"


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def tree(folder: Path) -> Path:
    """Class folders in three splits, of noise without twins."""
    rng = np.random.default_rng(5)
    for split in ("train", "validation", "test"):
        for label in ("happy", "sad"):
            (folder / split / label).mkdir(parents=True)
            for number in range(12):
                cv2.imwrite(str(folder / split / label / f"{number}.png"), rng.integers(0, 256, (24, 24), np.uint8))
    return folder


def test_classes_of_the_users_own_go_all_the_way(tmp_path: Path) -> None:
    tree(tmp_path / "mine")
    for split in ("train", "validation", "test"):
        (tmp_path / "mine" / split / "sad").rename(tmp_path / "mine" / split / "Pain")
    own = {"own_labels": ["pain"]}
    recipe = yaml.safe_load(RECIPE) | {"data": {"source": "folders", "root": str(tmp_path / "mine"), "options": own}}
    recipe["fit"] = {"epochs": 1}
    recipe["balance"] = {"steps": [{"oversample": {"target": {"Pain": 16}}}]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    mien("train", tmp_path / "own.yaml", "--out", run)
    assert metrics(run)["test"]["labels"] == ["happiness", "pain"]
    mien("export", run, "--out", tmp_path / "own.onnx")
    (answer,) = Recognizer(tmp_path / "own.onnx", crop="whole").analyze([np.zeros((24, 24), np.uint8)])
    assert set(answer.faces[0].probabilities) == {"happiness", "pain"}
    words = ["cross", run, "--on", f"clinic:folders={tmp_path / 'mine'}", "--out", tmp_path / "cross.html", "--json"]
    assert "own_labels=[" in mien(*words, check=2).stderr
    for option, code in (("clinic:own_labels=[pain]", 0), ("own_labels=[pain]", 2), ("other:own_labels=[pain]", 2)):
        said = mien(*words, "--option", option, check=code)
        assert code == 0 or "NAME:KEY=VALUE" in said.stderr
    assert mien(*words, "--option", "clinic:own_labels=[pain]", "--merge", "pain=agony", check=2).stderr
    there = ["evaluate", run, "--source", "folders", "--root", tmp_path / "mine", "--option", "own_labels=[pain]"]
    assert "fewer than two labels" in mien(*there, "--merge", "Pain=happy", check=1).stderr


def test_rows_without_a_label_are_left_out_of_a_run_and_told(home: Path, tmp_path: Path) -> None:
    pictures = sorted(path.relative_to(tmp_path).as_posix() for path in tree(tmp_path / "mine").rglob("*.png"))
    rows = [f"{name};{'' if name.endswith('/0.png') else name.split('/')[2]}" for name in pictures]
    (tmp_path / "list.csv").write_text("\n".join(["image;emotion", *rows]))
    options = "{columns: {path: image, label: emotion}}"
    words = ["train", home / "small.yaml", "--set", "fit.epochs=1", "--set", "split={method: stratified}"]
    data = f"data={{source: manifest, root: {tmp_path / 'list.csv'}, options: {options}}}"
    mien(*words, "--set", data, "--set", "balance.steps=[oversample]", "--out", tmp_path / "run")
    assert "6 rows without a label left out" in metrics(tmp_path / "run")["notes"]
    kept = pd.read_parquet(tmp_path / "run" / "samples.parquet")
    assert kept["split"][kept["label"].isna()].isna().tolist() == [True] * 6


def test_a_class_without_test_pictures_is_in_the_notes_of_a_run(home: Path, tmp_path: Path) -> None:
    data = tree(tmp_path / "data")
    for split in ("train", "validation"):
        shutil.copytree(data / split / "sad", data / split / "fear")
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}"]
    mien(*words, "--set", "fit.epochs=1", "--out", tmp_path / "run")
    said = "no test picture of fear: its macro figures are over 2 of 3 classes"
    assert said in metrics(tmp_path / "run")["notes"]
    assert said in [each["message"] for each in json.loads((tmp_path / "run" / "audit.json").read_text())["findings"]]


def test_a_run_leaves_everything_it_produced(run: Path) -> None:
    for name in (
        "recipe.yaml", "environment.json", "samples.parquet", "audit.json", "history.csv", "checkpoints/best.pt",
        "predictions.parquet", "metrics.json", "report.html",
    ):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    assert not [path for path in run.rglob(".*") if path.is_file()], "nothing half-written stays"


def test_figures_predictions_and_report_agree(run: Path) -> None:
    found, predictions = metrics(run), pd.read_parquet(run / "predictions.parquet")
    accuracy = found["test"]["metrics"]["accuracy"]
    assert accuracy["value"] == pytest.approx((predictions["predicted"] == predictions["label"]).mean())
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    columns = [name for name in predictions if name.startswith("p_")]
    assert len(columns) == 8 and np.allclose(predictions[columns].sum(axis=1), 1, atol=1e-4)
    assert set(predictions["split"]) == {"test"}
    assert f"{accuracy['value']:.1%}" in (run / "report.html").read_text()


def test_people_of_the_synthetic_faces_stay_on_one_side(run: Path) -> None:
    samples = pd.read_parquet(run / "samples.parquet")
    assert (samples.groupby("subject")["split"].nunique() == 1).all()


def test_rows_are_read_once_by_runs_that_share_them() -> None:
    asked: list[Data] = []
    read = remembering(lambda data: asked.append(data) or data.source)  # type: ignore[arg-type, return-value]
    several = [Data(source="synthetic", limit=limit) for limit in (1, 2, 3, 4)]
    for data in (*several[:3], *several[:3], *several):
        read(data)
    assert asked == several
    read(several[0])
    assert asked == [*several, several[0]], "and not for ever"


def test_settings_that_the_data_makes_idle_are_remarked() -> None:
    idle = {"split": {"seed": 5}, "balance": {"steps": [{"undersample": {"target": 240}}]}}
    remarks = " ".join(experiment.gather(parse(yaml.safe_load(RECIPE) | idle)).remarks)
    assert "split.seed changed nothing" in remarks and "undersample changes nothing" in remarks


def test_pictures_are_looked_at_only_for_an_audit(home: Path) -> None:
    asked: dict[str, list[str]] = {"on": [], "off": []}
    for audit, stages in asked.items():
        recipe = load(home / "small.yaml", ["data.options={count: 48, size: 16}", f"audit={audit}"])
        gathered = experiment.gather(recipe, stages=stages.append)  # type: ignore[arg-type]
        assert (gathered.audit is None) == (audit == "off")
    assert asked == {"on": ["prepare", "look"], "off": ["prepare"]}


def test_people_of_other_folders_are_other_people(tmp_path: Path) -> None:
    mine = {"source": "folders", "root": str(tmp_path / "a"), "options": {"pattern": "<subject>/<label>_*.jpg"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE) | {"data": mine}))
    assert inherited.names_same_people(tmp_path, Dataset(**mine))
    assert not inherited.names_same_people(tmp_path, Dataset(**(mine | {"root": str(tmp_path / "b")})))


def test_each_opening_of_the_test_split_is_counted(home: Path, run: Path) -> None:
    first, again = (json.loads(mien("evaluate", run, "--json").stdout) for _ in range(2))
    assert metrics(run)["opened"] < first["opened"] == again["opened"] - 1
    assert again["figures"]["metrics"]["accuracy"]["value"] == pytest.approx(
        metrics(run)["test"]["metrics"]["accuracy"]["value"]
    )


def test_a_run_is_judged_on_its_own_split_and_told_of_pictures_it_was_fitted_on(home: Path) -> None:
    own = ["--set", "split.method=stratified", "--set", "split.seed=9", "--set", "fit.epochs=1"]
    mien("train", home / "small.yaml", *own, "--out", home / "own-split")
    again = json.loads(mien("evaluate", home / "own-split", "--json").stdout)
    assert again["figures"]["metrics"]["accuracy"] == metrics(home / "own-split")["test"]["metrics"]["accuracy"]
    assert not again["notes"]
    rows = {
        split: json.loads(mien("evaluate", home / "own-split", "--split", split, "--json").stdout)["figures"]["rows"]
        for split in ("train", "validation", "test", "all")
    }
    assert rows["all"] == sum(rows.values()) - rows["all"] == 240
    other = tuple(f"--option={option}" for option in ("count=240", "size=24", "seed=3"))
    elsewhere = json.loads(mien("evaluate", home / "own-split", "--source", "synthetic", *other, "--json").stdout)
    assert "pictures are ones that the model, or one that it builds on, was fitted on" in elsewhere["notes"][0]


def test_pictures_of_ones_own_need_no_split_to_be_judged_on(home: Path, run: Path, tmp_path: Path) -> None:
    for place, split in (("whole", "."), ("split", "test")):
        for number, label in enumerate(("happy", "sad") * 4):
            (tmp_path / place / split / label).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (24, 24), np.uint8)
            cv2.imwrite(str(tmp_path / place / split / label / f"{number}.png"), pixels)
    whole = json.loads(mien("evaluate", run, "--source", "folders", "--root", tmp_path / "whole", "--json").stdout)
    assert whole["figures"]["rows"] == 8
    assert whole["notes"] == ["folders names no split: all its pictures are test pictures here"]
    words = ["--on", f"whole:folders={tmp_path / 'whole'}", "--on", f"split:folders={tmp_path / 'split'}"]
    table = json.loads(mien("cross", run, *words, "--out", tmp_path / "cross.html", "--json").stdout)
    assert table["sources"] == ["whole all", "split test"]
    assert [cell["figures"]["rows"] for cell in table["cells"]] == [8, 8]
    drawn = ["--on", "synthetic=", "--option", "synthetic:count=80", "--option", "synthetic:size=24"]
    table = json.loads(mien("cross", run, *drawn, "--out", tmp_path / "cross.html", "--json").stdout)
    assert table["sources"] == ["synthetic test"]
    assert "needs a root" in mien("cross", run, "--on", "folders=", check=2).stderr
    mien("evaluate", run, "--source", "folders", "--root", tmp_path / "whole", "--split", "train", check=2)
    same = ["--on", f"folders={tmp_path / 'whole'}", "--on", f"folders={tmp_path / 'split'}"]
    assert "--on NAME:SOURCE=ROOT" in mien("cross", run, *same, check=2).stderr


def test_a_run_is_told_of_near_twins_of_its_training_pictures_elsewhere(home: Path, tmp_path: Path) -> None:
    mien("train", home / "small.yaml", "--set", "fit.epochs=1", "--out", home / "own-pictures")
    kept = pd.read_parquet(home / "own-pictures" / "samples.parquet")
    samples = read(Data(source="synthetic", options={"count": 240, "size": 24, "seed": 3}))
    for image, label in kept[kept["split"] == "train"][["image", "label"]].head(20).to_numpy():
        (tmp_path / label).mkdir(exist_ok=True)
        shown = cv2.resize(samples.reader.read(image), (60, 60), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / label / f"{image.rpartition('#')[2]}.jpg"), shown, [cv2.IMWRITE_JPEG_QUALITY, 80])
    words = ["evaluate", home / "own-pictures", "--source", "folders", "--root", tmp_path, "--split", "all", "--json"]
    (told,) = json.loads(mien(*words).stdout)["notes"]
    assert told.startswith("20 of these 20 pictures are near twins of ones that the model")


def test_a_run_is_gone_on_with_by_its_folder(home: Path, run: Path) -> None:
    assert str(run / "report.html") in mien("train", run, "--resume").stdout.replace("\n", "")
    assert "already holds a run" in mien("train", run, check=1).stderr


def test_leaks_of_the_data_are_said_and_kept_in_the_run(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    leaks._say_once.cache_clear()
    data = tree(home / "twins")
    (data / "test" / "sad" / "0.png").write_bytes((data / "train" / "sad" / "0.png").read_bytes())
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}", "--set", "fit.epochs=1"]
    mien(*words, "--out", home / "with-twins")
    assert "exact-twins-across-splits" in caplog.text
    assert any(note.startswith("exact-twins-across-splits") for note in metrics(home / "with-twins")["notes"])
    caplog.clear()
    mien(*words, "--set", "fit.batch=16", "--out", home / "with-twins-again")
    assert "exact-twins-across-splits" not in caplog.text, "said once"
    assert any(note.startswith("exact-twins-across-splits") for note in metrics(home / "with-twins-again")["notes"])
    mien(*words, "--set", "split.clean=train", "--out", home / "without-twins")
    assert not [note for note in metrics(home / "without-twins")["notes"] if note.startswith("exact-twins")]


@pytest.mark.parametrize(("twins", "rows"), [(2, 20), (11, 24)])
def test_validation_pictures_with_a_twin_in_training_calibrate_nothing(
    home: Path, tmp_path: Path, twins: int, rows: int
) -> None:
    data = tree(tmp_path / "data")
    for label in ("happy", "sad"):
        (data / "test" / label / "0.png").unlink()
        for number in range(twins):
            shutil.copy(data / "train" / label / f"{number}.png", data / "validation" / label / f"{number}.png")
    words = [
        "train",
        home / "small.yaml",
        "--set",
        f"data={{source: folders, root: {data}}}",
        "--out",
        tmp_path / "run",
    ]
    mien(*words)
    figures = metrics(tmp_path / "run")
    assert figures["calibrated_on"] == {"rows": rows, "of": 24, "shown_in_training": 2 * twins}
    assert figures["validation"]["rows"] == 24
    (said,) = (note for note in figures["notes"] if note.startswith("temperature and the threshold"))
    assert said.endswith("too few others are left") == (rows == 24) and f"{2 * twins} " in said
    run = finished(tmp_path / "run")
    material, places = rows_of(run, "validation")
    names = material.samples.table["image"].iloc[places]
    known = np.array([int(Path(name).stem) < twins for name in names])
    kept = places[~known] if rows < 24 else places
    values = predict(run.network, material.pixels, material.place[kept], run.chain.normalise, run.recipe.evaluate.flip)
    temperature = calibration.fit_temperature(values, material.samples.targets[kept])
    assert figures["temperature"] == pytest.approx(temperature, rel=1e-3)


def test_rows_dropped_from_training_show_no_validation_picture(tmp_path: Path) -> None:
    data = tree(tmp_path / "data")
    (data / "validation" / "sad" / "0.png").write_bytes((data / "train" / "sad" / "0.png").read_bytes())
    recipe = yaml.safe_load(RECIPE) | {"data": {"source": "folders", "root": str(data)}}
    shown = {clean: experiment.gather(parse(recipe | {"split": {"clean": clean}})).shown for clean in ("none", "train")}
    assert shown == {"none": {"validation/sad/0.png"}, "train": frozenset()}


def test_rows_made_before_the_split_show_their_pictures_in_training() -> None:
    steps = [{"smote": {"neighbours": 2, "target": 60}}]
    early = {"split": {"method": "stratified"}, "balance": {"order": "balance-before-split", "steps": steps}}
    gathered = experiment.gather(parse(yaml.safe_load(RECIPE) | early))
    samples, parents = gathered.material.samples, gathered.material.parents
    names = samples.table["image"]

    def pictures(row: int) -> set[int]:
        return {row, *parents[row].tolist()} - {-1}

    trained = set().union(*map(pictures, samples.rows("train")))
    related = {names[row] for row in samples.rows("validation") if pictures(row) & trained}
    assert related and related <= gathered.shown < set(names[samples.rows("validation")])


def test_a_run_is_judged_by_the_votes_of_its_test_pictures(home: Path, run: Path, tmp_path: Path) -> None:
    rng, lines = np.random.default_rng(5), []
    for usage, folder in FERPLUS_FOLDERS.items():
        (tmp_path / folder).mkdir()
        for number in range(24):
            name, votes = f"fer{len(lines):07d}.png", "6,2,0,0,0,0,0,0,0,2" if number % 2 else "0,10,0,0,0,0,0,0,0,0"
            cv2.imwrite(str(tmp_path / folder / name), rng.integers(0, 256, (48, 48), np.uint8))
            lines.append(f"{usage},{name},{votes}\n")
    (tmp_path / "fer2013new.csv").write_text(VOTES_HEADER + "".join(lines))
    voted = tmp_path / "run"
    mien("train", home / "small.yaml", "--set", f"data={{source: ferplus, root: {tmp_path}}}", "--out", voted)
    found = metrics(voted)["agreement"]
    assert [(band["low"], band["high"], band["rows"]) for band in found["bands"]] == [(0.7, 0.8, 12), (0.9, 1, 12)]
    assert sum(band["rows"] * band["accuracy"]["value"] for band in found["bands"]) == pytest.approx(
        24 * metrics(voted)["test"]["metrics"]["accuracy"]["value"]
    )
    assert found["matched"][0]["votes"]["value"] == pytest.approx((0.75 + 1) / 2)
    again = json.loads(mien("evaluate", voted, "--json").stdout)["agreement"]
    assert again["matched"][0]["model"]["value"] == pytest.approx(found["matched"][0]["model"]["value"])
    assert "an annotator drawn at random agrees with" in mien("evaluate", voted).stdout
    page = (voted / "report.html").read_text()
    assert "Agreement with the annotators" in page and "70–80%" in page
    assert (voted / "figures" / "agreement.svg").is_file()
    assert "agreement" not in metrics(run) and "annotators" not in (run / "report.html").read_text()


def test_a_run_on_other_data_is_not_gone_on_with(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = ["train", home / "small.yaml", "--set", "fit.epochs=1", "--out", home / "on-here", "--set"]
    mien(*words, f"data={{source: folders, root: {tree(home / 'here')}}}")
    said = mien(*words, f"data={{source: folders, root: {tree(home / 'there')}}}", "--resume", check=1).stderr
    assert "other data" in said and str(home / "there") in said
    mien("evaluate", home / "on-here")
    assert "have changed since" not in caplog.text
    picture = home / "here" / "test" / "sad" / "0.png"
    cv2.imwrite(str(picture), np.eye(24, dtype=np.uint8) * 255)
    mien("evaluate", home / "on-here")
    assert "1 of the 24 pictures" in caplog.text and "have changed since" in caplog.text
    picture.unlink()
    gone = mien("evaluate", home / "on-here", check=1).stderr
    assert "1 of the 24 pictures" in gone and str(home / "here") in gone


def test_a_run_is_judged_where_its_data_is_now(home: Path) -> None:
    words = ["train", home / "small.yaml", "--set", "fit.epochs=1", "--out", home / "moved-run"]
    mien(*words, "--set", f"data={{source: folders, root: {tree(home / 'moved')}}}")
    (home / "moved").rename(home / "moved-away")
    gone = mien("evaluate", home / "moved-run", check=1).stderr
    assert "add --root FOLDER" in gone
    again = json.loads(mien("evaluate", home / "moved-run", "--root", home / "moved-away", "--json").stdout)
    assert again["figures"]["metrics"]["accuracy"] == metrics(home / "moved-run")["test"]["metrics"]["accuracy"]


def test_a_run_of_an_earlier_mien_says_so(home: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "old")
    kept = tmp_path / "old" / "samples.parquet"
    pd.read_parquet(kept).drop(columns="listing").to_parquet(kept)
    assert "a run of an earlier mien" in mien("evaluate", tmp_path / "old", check=1).stderr


def test_pictures_of_one_class_train_nothing(home: Path) -> None:
    data = tree(home / "one-class")
    for split in ("train", "validation", "test"):
        shutil.rmtree(data / split / "sad")
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}", "--out", home / "one"]
    assert "training pictures of one class teach nothing" in mien(*words, check=1).stderr
    assert not (home / "one").exists()


@pytest.mark.parametrize("clean", ["none", "train"])
def test_a_picture_that_is_listed_twice_is_judged_where_it_was_tested_only(home: Path, clean: str) -> None:
    root, rng = home / f"listed-twice-{clean}", np.random.default_rng(5)
    root.mkdir()
    lines = ["pth,label"]
    for number in range(22):
        cv2.imwrite(str(root / f"{number}.png"), rng.integers(0, 256, (24, 24), np.uint8))
        lines += [f"{number}.png,{('happy', 'sad')[number % 2]}"] * 2
    (root / "labels.csv").write_text("\n".join(lines))
    changes = [f"data={{source: affectnet-hq, root: {root}, classes: [happiness, sadness]}}", "fit.epochs=1"]
    changes.append(f"split={{method: stratified, fractions: [0.5, 0.25, 0.25], clean: {clean}}}")
    words = [word for change in changes for word in ("--set", change)]
    run = home / f"on-listed-twice-{clean}"
    mien("train", home / "small.yaml", *words, "--out", run)
    kept = pd.read_parquet(run / "samples.parquet")
    straddling = set(kept["image"][kept["split"] == "test"]) & set(kept["image"][kept["split"] != "test"])
    assert straddling, "else nothing is tested"
    again = json.loads(mien("evaluate", run, "--json").stdout)
    assert again["figures"]["metrics"]["accuracy"] == metrics(run)["test"]["metrics"]["accuracy"]
    opened = finished(run)
    listed = read(opened.recipe.data).table.groupby("image").cumcount()
    _, rows = rows_of(opened, "test")
    assert listed.iloc[rows].tolist() == kept["listing"][kept["split"] == "test"].tolist()
    assert 1 in listed.iloc[rows].tolist()


def test_a_run_whose_backbone_has_another_shape_now_is_told_so(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    recipe = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(recipe.replace("backbone: mien-tiny", "backbone: mien-small"))
    assert "do not fit mien-small" in mien("evaluate", copy, check=1).stderr


def test_training_rows_are_found_again_where_made_ones_outlived_their_parents(home: Path) -> None:
    steps = "balance.steps=[{smote: {target: 60, neighbours: 1}}, {undersample: {target: 12}}]"
    mien("train", home / "small.yaml", "--set", steps, "--set", "fit.epochs=1", "--out", home / "outlived")
    kept = pd.read_parquet(home / "outlived" / "samples.parquet")
    made = kept["source"] == "made"
    assert (made & kept["parent"].isna()).any(), "else nothing is tested"
    _, rows = rows_of(finished(home / "outlived"), "train")
    assert len(rows) == ((kept["split"] == "train") & ~made).sum()


def test_strict_lets_a_run_start_that_drops_the_twins_itself(home: Path) -> None:
    data = tree(home / "strictly")
    (data / "test" / "sad" / "0.png").write_bytes((data / "train" / "sad" / "0.png").read_bytes())
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}", "--set", "fit.epochs=1"]
    assert "twins" in mien(*words, "--set", "audit=strict", "--out", home / "refused", check=3).stderr
    mien(*words, "--set", "audit=strict", "--set", "split.clean=train", "--out", home / "cleaned")


def test_training_rows_that_another_dataset_holds_out_are_left_out(home: Path) -> None:
    data, other = tree(home / "own"), tree(home / "others")
    own = decode((data / "train" / "happy" / "3.png").read_bytes())
    cv2.imwrite(str(other / "test" / "happy" / "7.png"), np.fliplr(own))
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}", "--set", "fit.epochs=1"]
    against = f"split={{clean: train, clean_against: [{{source: folders, root: {other}}}]}}"
    mien(*words, "--set", against, "--out", home / "apart")
    kept = pd.read_parquet(home / "apart" / "samples.parquet")
    gone = {f"train/{label}/{number}.png" for label in ("happy", "sad") for number in range(12)} - set(kept["image"])
    assert gone == {"train/happy/3.png"}
    assert "left out: 1 further training row with a twin in what folders holds out" in metrics(home / "apart")["notes"]
    elsewhere = against.replace(str(other), str(tree(home / "yet-others")))
    assert (
        "holds a run on other data"
        in mien(*words, "--set", elsewhere, "--out", home / "apart", "--resume", check=1).stderr
    )
    parts = f"{{source: folders, root: {tree(home / 'no-parts') / 'test'}}}, {{source: folders, root: {other}}}"
    both = ["--set", f"split={{clean: train, clean_against: [{parts}]}}", "--out", home / "apart-from-both"]
    mien(*words, *both)
    notes = metrics(home / "apart-from-both")["notes"]
    assert sum("a twin in what folders holds out" in note for note in notes) == 2, "two datasets of one source"
    nowhere = mien(*words, "--set", against.replace(str(other), "nowhere"), "--out", home / "never", check=1).stderr
    assert "split.clean_against[0]: " in nowhere


@pytest.mark.parametrize(
    ("change", "said", "code"),
    [
        ("split={method: stratified, fractions: [0.9, 0.0, 0.1]}", "none for validation", 1),
        ("split={method: stratified, fractions: [0.5, 0.1, 0.1]}", "fractions", 2),
        ("fit.soft_labels=true", "needs votes", 1),
    ],
)
def test_what_cannot_be_trained_is_told_before_it_is(home: Path, change: str, said: str, code: int) -> None:
    assert said in mien("train", home / "small.yaml", "--set", change, "--out", home / "never", check=code).stderr
    assert not (home / "never" / "history.csv").exists()


def test_a_finished_run_is_not_trained_again_and_not_overwritten(home: Path, run: Path) -> None:
    before = (run / "metrics.json").stat().st_mtime_ns
    assert "already holds a run" in mien("train", home / "small.yaml", "--out", run, check=1).stderr
    other = mien("train", home / "small.yaml", "--set", "fit.epochs=3", "--out", run, "--resume", check=1)
    assert "another recipe" in other.stderr
    mien("train", home / "small.yaml", "--out", run, "--resume")
    assert (run / "metrics.json").stat().st_mtime_ns == before


_KILLED = """
import os, signal, sys
from pathlib import Path
from mien.experiment import train
from mien.recipe import load

def stages(name):
    def progress(done, total):
        if name == "train" and done > total // 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return progress

train(load(Path(sys.argv[1]), sys.argv[3:]), Path(sys.argv[2]), stages=stages)
"""


def test_a_killed_run_resumes_to_the_figures_of_an_uninterrupted_one(home: Path) -> None:
    # Two runs may find different precisions the faster one.
    changes, killed = ["fit.epochs=4", "fit.precision=float32"], home / "killed"
    done = subprocess.run([sys.executable, "-c", _KILLED, home / "small.yaml", killed, *changes])
    assert done.returncode == -signal.SIGKILL
    assert (killed / "checkpoints" / "last.ckpt").is_file() and not (killed / "metrics.json").is_file()
    words = ["train", home / "small.yaml", *(word for change in changes for word in ("--set", change)), "--out"]
    mien(*words, killed, "--resume")
    mien(*words, home / "whole")
    assert metrics(killed)["test"] == metrics(home / "whole")["test"]


def test_two_processes_do_not_share_a_run(home: Path) -> None:
    busy = home / "busy"
    with alone(busy) as first, alone(busy) as second:
        assert first and not second
        assert (
            "another process is working on the run" in mien("train", home / "small.yaml", "--out", busy, check=1).stderr
        )
    assert not busy.exists() and not list(home.glob(".busy*"))


def test_a_run_does_not_go_on_with_other_rows(home: Path, run: Path) -> None:
    begun = home / "begun"
    begun.mkdir()
    shutil.copy(run / "recipe.yaml", begun)
    kept = pd.read_parquet(run / "samples.parquet")
    moved = np.flatnonzero(kept["split"] == "train")[0]
    kept.loc[moved, "split"] = "test"
    kept.to_parquet(begun / "samples.parquet")
    said = mien("train", begun, "--resume", check=1).stderr
    assert "have changed since it began" in said and "choose another --out" in said


def test_the_page_tells_the_method_for_a_paper(home: Path, run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "For a paper" in page and "The network mien-tiny with a dropout of 0.2 before the output was trained" in page
    assert "was trained from random weights for 2 epochs" in page
    rows = metrics(run)["test"]["rows"]
    assert "The split is the one that the dataset publishes" in page and f"{rows} test pictures" in page
    changes = ["balance.steps=[smote]", "augment.mixup=0.2", "fit.epochs=1", "chain=[grey, {resize: 24}, clahe]"]
    words = [word for change in changes for word in ("--set", change)]
    mien("train", home / "small.yaml", *words, "--out", home / "referring")
    said = references(read_run(home / "referring"))
    assert [text.split(",")[0].split(" ")[0] for text in said] == [
        "Bröcker", "Chawla", "Guo", "Hesterberg", "Korn", "Wilson", "Zhang", "Zuiderveld",
    ]  # fmt: skip
    assert any(
        "balanced after the split: smote (target max" in text for text in sentences(read_run(home / "referring"))
    )


def test_seeds_make_a_folder_of_runs(home: Path) -> None:
    changes = ["--set", "seeds=[0, 1]", "--set", "fit.epochs=1"]
    done = mien("train", home / "small.yaml", *changes, "--out", home / "seeds", "--json")
    document = json.loads(done.stdout)
    assert [Path(run["run"]).name for run in document["runs"]] == ["seed-0", "seed-1"]
    lines = ["seed 0 (1/2): prepare: ", "seed 0 (1/2): train: ", "seed 1 (2/2): train: "]
    assert all(f"{line}done in" in done.stderr for line in lines)
    values = [run["test"]["metrics"]["accuracy"]["value"] for run in document["runs"]]
    assert document["spread"]["accuracy"]["mean"]["value"] == pytest.approx(np.mean(values))
    pooled = document["figures"]["metrics"]["accuracy"]
    assert pooled["value"] == pytest.approx(np.mean(values)) and pooled["low"] < pooled["value"] < pooled["high"]
    again = mien("train", home / "small.yaml", *changes, "--out", home / "seeds", "--resume").stdout
    assert "2 runs" in again and "deviation" in again
    assert "2 runs" in mien("train", home / "seeds", "--resume").stdout
    assert "seeds/seed-0" in mien("evaluate", home / "seeds", "--robustness", check=2).stderr
    together = json.loads(mien("evaluate", home / "seeds", "--json").stdout)
    assert together["figures"]["metrics"]["accuracy"] == pooled and together["run"] == "seeds"
    assert {"seeds/seed-0", "seeds/seed-1"} <= {opening.run for opening in ledger.openings(home)}
    matrix = json.loads(mien("cross", home / "seeds", "--out", home / "seeds.html", "--json").stdout)
    assert matrix["cells"][0]["figures"]["metrics"]["accuracy"] == pytest.approx(pooled, abs=1e-6)


def test_all_folds_make_a_folder_of_runs_that_share_no_test_row(home: Path) -> None:
    # By trial steps of its own, each fold may choose another arithmetic, which the report says.
    changes = ["split={method: grouped-kfold, folds: 3, fold: all}", "fit.epochs=1", "fit.precision=float32"]
    words = [word for change in changes for word in ("--set", change)]
    done = json.loads(mien("train", home / "small.yaml", *words, "--out", home / "folds", "--json").stdout)
    assert [Path(run["run"]).name for run in done["runs"]] == ["fold-0", "fold-1", "fold-2"]
    tested = [pd.read_parquet(Path(run["run"]) / "predictions.parquet")["image"] for run in done["runs"]]
    assert sum(map(len, tested)) == len(set().union(*tested)) == 240
    assert "3 times" in (home / "folds" / "report.html").read_text()
    together = pd.read_parquet(home / "folds" / "predictions.parquet")
    assert sorted(together["image"]) == sorted(image for each in tested for image in each)
    assert done["pictures"] == done["figures"]["rows"] == np.sum(done["figures"]["confusion"]) == 240
    right = (together["label"] == together["predicted"]).mean()
    assert done["figures"]["metrics"]["accuracy"]["value"] == pytest.approx(right)
    bundle = home / "of-fold-0.onnx"
    mien("export", home / "folds" / "fold-0", "--out", bundle)
    words = ["cross", home / "folds", bundle, "--whole", "synthetic", "--out", home / "folds.html", "--json"]
    matrix = json.loads(mien(*words).stdout)
    ours, theirs = (cell["figures"] for cell in matrix["cells"])
    assert ours["rows"] == theirs["rows"] == 240 and matrix["runs"] == ["folds", "of-fold-0.onnx"]
    for name in ("accuracy", "macro_f1"):
        assert ours["metrics"][name] == pytest.approx(done["figures"]["metrics"][name], abs=1e-6)
    ((pair,),) = matrix["pairs"].values()
    assert pair["rows"] == 240
    assert pair["difference"]["value"] == pytest.approx(
        theirs["metrics"]["accuracy"]["value"] - ours["metrics"]["accuracy"]["value"]
    )
    elsewhere = json.loads(mien(*words[:3], "--on", "synthetic=", *words[5:]).stdout)
    assert elsewhere["runs"] == ["folds/fold-0", "folds/fold-1", "folds/fold-2", "of-fold-0.onnx"]
    assert len(elsewhere["pairs"]["synthetic test"]) == 6
    assert "is not a finished run" in mien("cross", bundle, home / "folds" / "fold-1", home / "folds", check=1).stderr
    assert not any("too narrow" in note for cell in matrix["cells"] for note in cell["notes"])
    sides = pd.DataFrame({"image": together["image"], "side": ["left", "right"] * 120})
    sides.to_csv(home / "sides.csv", index=False)
    grouped = json.loads(mien("evaluate", home / "folds", "--by", home / "sides.csv", "--json").stdout)["groups"]
    assert [group["pictures"] for group in grouped["columns"][0]["groups"]] == [120, 120] and grouped[
        "unit"
    ] == "people"
    assert json.loads((home / "folds" / "groups.json").read_text()) == grouped
    again = ["train", home / "small.yaml", "--set", "name=renamed", "--out", home / "folds", "--resume"]
    mien(*again, *(word for change in changes for word in ("--set", change)))
    bare = shutil.copytree(home / "folds", home / "bare")
    for kept in bare.glob("*/predictions.parquet"):
        kept.unlink()
    assert "no predictions.parquet" in mien("evaluate", bare, check=1).stderr
    mien("report", bare)
    shutil.rmtree(home / "folds" / "fold-2")
    fewer = json.loads(mien(*words).stdout)["cells"][0]
    assert any("2 of the 3 runs of folds are finished" in note for note in fewer["notes"])
    assert fewer["figures"]["rows"] < 240
    assert "2 of the 3 runs of folds are finished" in mien("evaluate", home / "folds").stdout
    assert "--root" in mien("evaluate", home / "folds", "--root", home, check=2).stderr
    assert "fold: all needs method" in mien("train", home / "small.yaml", "--set", "split.fold=all", check=2).stderr


def test_a_bundle_answers_as_the_run_does(home: Path, run: Path) -> None:
    made = json.loads(mien("export", run, "--out", home / "small.onnx", "--json").stdout)
    assert made["changed_decisions"] == 0 and made["largest_difference"] <= 1e-4
    bundle = load_bundle(home / "small.onnx")
    assert bundle.info.labels == tuple(metrics(run)["test"]["labels"])
    assert bundle.info.recipe_digest and bundle.info.figures["test"]["accuracy"]["value"] > 0
    assert made["framing"].startswith("faces are framed as FER2013 frames them")
    words = ["export", run, "--out", home / "odd.onnx", "--name", "two\nlines"]
    assert "printable characters only" in mien(*words, check=2).stderr
    card = ["--card", home / "small.md"]
    eight = json.loads(mien("export", run, "--out", home / "small-int8.onnx", "--int8", *card, "--json").stdout)
    assert eight["bytes"] < made["bytes"] and eight["accuracy_of_run"] == made["accuracy_of_run"]
    said, found = (
        (home / "small.md").read_text(),
        load_bundle(home / "small-int8.onnx").info.figures["test"]["accuracy"],
    )
    assert f"| accuracy | {found['value']:.1%} | {found['low']:.1%} to {found['high']:.1%} |" in said
    assert "without a twin in the training part as it came" in said
    assert "| contempt |" in said and "does not measure what a person feels" in said


def test_a_bundle_frames_faces_as_its_training_pictures_show_them(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MODELS", str(shared / "models"))
    known, yunet = Framing(scale=2.0, eyes=0.45, upright=180), YuNetDetector(find("yunet"))
    for number, path in enumerate(sorted((shared / "data" / "portraits" / "images").iterdir())[:60]):
        image = decode(path)
        folder = (
            tmp_path / "roomy" / ("train", "train", "validation", "test")[number % 4] / ("happy", "sad")[number % 3 % 2]
        )
        folder.mkdir(parents=True, exist_ok=True)
        shown = cv2.cvtColor(operations.colour(frame(image, largest(yunet(image)), known)), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(shown, (96, 96)))
    (tmp_path / "roomy.yaml").write_text(
        RECIPE.replace("synthetic\n  options: {count: 240, size: 24, seed: 3}", "folders")
    )
    words = ["--set", f"data.root={tmp_path / 'roomy'}", "--set", "fit.epochs=1", "--out", tmp_path / "roomy-run"]
    mien("train", tmp_path / "roomy.yaml", *words)
    made = json.loads(mien("export", tmp_path / "roomy-run", "--out", tmp_path / "roomy.onnx", "--json").stdout)
    assert "of 30 training pictures show theirs" in made["framing"]
    assert load_bundle(tmp_path / "roomy.onnx").framing.scale == pytest.approx(known.scale, rel=0.1)


def test_that_pictures_were_squeezed_for_the_network_is_told_with_its_bundle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw = np.random.default_rng(2)
    for number in range(48):
        folder = (
            tmp_path / "wide" / ("train", "train", "validation", "test")[number % 4] / ("happy", "sad")[number // 24]
        )
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), draw.integers(0, 256, (24, 32), np.uint8))
    recipe = yaml.safe_load(RECIPE) | {"data": {"source": "folders", "root": str(tmp_path / "wide")}}
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(recipe))
    mien("train", tmp_path / "wide.yaml", "--set", "fit.epochs=1", "--out", tmp_path / "run")
    mien("export", tmp_path / "run", "--out", tmp_path / "wide.onnx")
    assert "1.33 times as wide as high" in caplog.text and "frame-face" in caplog.text


@pytest.mark.parametrize("flip", ["false", "true"])
def test_the_recogniser_gives_the_probabilities_of_the_run(home: Path, flip: str) -> None:
    folder = home / f"flip-{flip}"
    words = ["--set", "fit.epochs=1", "--set", f"evaluate.flip={flip}"]
    mien("train", home / "small.yaml", *words, "--out", folder)
    mien("export", folder, "--out", home / f"{flip}.onnx")
    opened = finished(folder)
    material, rows = rows_of(opened, "test")
    ours = opened.probabilities(material.pixels, material.place[rows])
    pictures = [material.samples.reader.read(image) for image in material.samples.table["image"].iloc[rows]]
    answers = Recognizer(home / f"{flip}.onnx", crop="whole").analyze(pictures)
    theirs = np.array(
        [[face.probabilities[label] for label in opened.labels] for (face,) in (a.faces for a in answers)]
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    assert (theirs.argmax(1) == ours.argmax(1)).all()


def test_a_run_of_eight_labels_is_judged_on_a_set_of_seven(home: Path, run: Path) -> None:
    folder = home / "tree"
    rng = np.random.default_rng(0)
    for label in ("happy", "sad", "fear"):
        (folder / label).mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(folder / label / f"{i}.png"), rng.integers(0, 255, (30, 30), dtype=np.uint8))
    done = json.loads(mien("evaluate", run, "--source", "folders", "--root", folder, "--split", "all", "--json").stdout)
    assert done["figures"]["rows"] == 12 and done["figures"]["labels"] == ["fear", "happiness", "sadness"]
    on = ["--on", f"folders={folder}", "--split", "all"]
    table = mien("cross", run, *on, "--out", home / "cross.html").stdout
    assert "12 rows, 3 classes" in table and "12 pictures, 3 classes" in (home / "cross.html").read_text()
    matrix = json.loads(mien("cross", run, *on, "--out", home / "cross.html", "--json").stdout)
    assert matrix["cells"][0]["figures"]["metrics"] == done["figures"]["metrics"]
    assert "unknown split" in mien("evaluate", run, "--split", "nowhere", check=2).stderr


class Always(nn.Module):
    """A network that answers the same to every picture."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.arange(classes, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answer.expand(len(x), -1)


def test_runs_whose_chains_drop_other_pictures_are_paired_picture_by_picture(
    home: Path, run: Path, shared: Path
) -> None:
    folder = home / "portraits"
    for number, path in enumerate(sorted((shared / "data" / "portraits" / "images").glob("*.jpg"))[:24]):
        place = folder / ("surprise" if number % 2 else "sad") / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
    opened = finished(run)
    plain = replace(opened, network=Always(len(opened.labels)))
    finder = ["grey", {"detect-face": {"detector": "viola-jones", "missing": "drop"}}, *opened.chain.as_list()[1:]]
    picky = replace(plain, chain=Chain.parse(finder))
    matrix = crossed({"plain": plain, "picky": picky}, {"portraits": Dataset(source="folders", root=folder)}, "all")
    rows = [cell["figures"]["rows"] for cell in matrix["cells"]]
    assert list(matrix["pairs"]) == matrix["sources"]
    ((pair,),) = matrix["pairs"].values()
    assert pair["rows"] == rows[1] < rows[0] == 24
    assert pair["only_a"] == pair["only_b"] == 0


def test_a_bundle_is_judged_on_the_faces_that_it_finds_as_predict_does(home: Path, run: Path, shared: Path) -> None:
    people, faces = home / "people", home / "people.jsonl"
    for number, path in enumerate(sorted((shared / "data" / "portraits" / "images").glob("*.jpg"))[:12]):
        (place := people / ("surprise" if number % 2 else "sad")).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), cv2.imread(str(path)))
    cv2.imwrite(str(people / "sad" / "nobody.png"), np.full((80, 80), 90, np.uint8))
    bundle = home / "judged.onnx"
    mien("export", run, "--out", bundle)
    words = ["--source", "folders", "--root", people, "--json"]
    found = json.loads(mien("evaluate", bundle, *words).stdout)
    mien("predict", people, "--model", bundle, "--out", faces, "--detector", "haar")
    largest: dict[str, dict[str, Any]] = {}
    for row in map(json.loads, faces.read_text().splitlines()):
        # Rows of a picture come largest first.
        for face in row["faces"][:1]:
            largest[row["source"]] = face["probabilities"]
    known = ("sadness", "surprise")
    right = [
        max(known, key=lambda label: answer[label]) == ("sadness" if "/sad/" in path else "surprise")
        for path, answer in largest.items()
    ]
    assert found["figures"]["rows"] == len(right) >= 8
    assert found["figures"]["metrics"]["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert found["opened"] is None and any("the largest one is judged" in note for note in found["notes"])
    assert any(note.startswith("no-face") for note in found["notes"])
    rows = ["--crop", "whole", "--out", home / "answers.csv"]
    blank = home / "blank"
    for label in ("sad", "surprise"):
        (blank / label).mkdir(parents=True)
        cv2.imwrite(str(blank / label / "one.png"), np.full((80, 80), 90, np.uint8))
    before = len(ledger.openings(home))
    said = mien("cross", run, bundle, "--on", f"folders={blank}", check=1).stderr
    assert "finds a face in no picture of folders" in said and "--whole SOURCE" in said
    assert len(ledger.openings(home)) == before, "what cannot be judged opens nothing for the others"
    whole = json.loads(mien("evaluate", bundle, *words, *rows).stdout)
    answers = pd.read_csv(home / "answers.csv")
    assert whole["figures"]["rows"] == len(answers) == 13
    assert list(answers["label"].unique()) == ["sadness", "surprise"] and answers["image"].is_unique
    np.testing.assert_allclose(answers["p_sadness"] + answers["p_surprise"], 1, atol=1e-6)


def test_a_run_is_tested_against_bundles_on_the_rows_that_it_held_out(home: Path, run: Path) -> None:
    bundle, page = home / "itself.onnx", home / "itself.html"
    mien("export", run, "--out", bundle)
    words = ["cross", run, bundle, "--whole", "synthetic", "--out", page, "--json"]
    matrix = json.loads(mien(*words).stdout)
    held_out = metrics(run)["test"]
    assert [cell["figures"]["rows"] for cell in matrix["cells"]] == [held_out["rows"]] * 2
    assert matrix["cells"][0]["figures"]["metrics"]["accuracy"] == held_out["metrics"]["accuracy"]
    assert matrix["cells"][0]["protocol"].endswith(metrics(run)["protocol"]["digest"])
    ((pair,),) = matrix["pairs"].values()
    assert pair["only_a"] == pair["only_b"] == 0, "a bundle answers as the run that it was made of"
    everything = json.loads(mien(*words, "--split", "all").stdout)
    assert everything["cells"][0]["figures"]["rows"] == len(pd.read_parquet(run / "samples.parquet"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "{bundle}"], "add --source NAME"),
        (["evaluate", "{bundle}", "--robustness"], "add --source NAME"),
        (["evaluate", "{bundle}", "--source", "synthetic", "--crop", "round"], "unknown crop"),
        (["evaluate", "{run}", "--source", "synthetic", "--crop", "whole"], "leave out --crop"),
        (["evaluate", "{run}", "--out", "answers.txt"], "NAME.csv or NAME.parquet"),
        (["evaluate", "{run}", "--robustness", "--out", "answers.csv"], "give no answers"),
        (["evaluate", "{run}", "--robustness", "--by", "people.csv"], "give no answers to write or to group"),
        (["cross", "{bundle}"], "add --on"),
        (["cross", "{run}", "--whole", "synthetic"], "leave out --whole"),
        (["cross", "{run}", "--root", "elsewhere", "--on", "synthetic="], "--on names other data"),
        (["cross", "{run}", "{bundle}", "--whole", "elsewhere"], "is the name of a source"),
    ],
)
def test_what_makes_no_sense_of_a_bundle_or_a_run_is_refused(
    home: Path, run: Path, words: list[str], said: str
) -> None:
    places = {"bundle": home / "any.onnx", "run": run}
    mien("export", run, "--out", places["bundle"])
    assert said in mien(*(word.format(**places) for word in words), check=2).stderr


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


def test_a_run_whose_pictures_are_normalised_otherwise_is_no_start(home: Path, run: Path) -> None:
    words = ["--set", "model.transfer=full", "--set", f"model.weights={run}", "--set", "chain=[grey, {resize: 24}]"]
    said = mien("train", home / "small.yaml", *words, "--out", home / "other-chain", check=1).stderr
    assert "takes other pictures than the chain makes" in said and not (home / "other-chain").exists()


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


def test_pictures_that_made_rows_come_from_are_known_as_fitted_on(home: Path, tmp_path: Path) -> None:
    steps = ["--set", "balance.steps=[{oversample: {target: 200}}, {undersample: {target: 12}}]"]
    split = ["--set", "split.method=stratified", "--set", "fit.epochs=1"]
    mien("train", home / "small.yaml", *split, *steps, "--out", tmp_path / "made")
    kept = pd.read_parquet(tmp_path / "made" / "samples.parquet")
    kept = kept[kept["split"] == "train"]
    made = kept[kept["source"] == "made"]
    parents = {digest for each in made["made_from"] for digest in each}
    gone = parents - set(kept[kept["source"] != "made"]["digest"])
    assert gone, "some parents were balanced away"
    seen = inherited.fitted_on(tmp_path / "made")
    assert seen is not None and gone < seen
    again = ["--set", "model.transfer=full", "--set", f"model.weights={tmp_path / 'made'}", "--set", "split.seed=4"]
    said = mien("train", home / "small.yaml", *split, *again, "--out", tmp_path / "on", check=3).stderr
    assert "held-out-seen-by-earlier-run" in said


def test_a_file_of_weights_that_was_carried_off_keeps_no_list(home: Path, run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "checkpoints" / "best.pt", tmp_path / "loose.pt")
    words = ["train", home / "small.yaml", "--set", "model.transfer=full", "--set", "fit.epochs=1"]
    words += ["--set", f"model.weights={tmp_path / 'loose.pt'}", "--set", "audit=strict", "--out", tmp_path / "on"]
    said = mien(*words, check=3).stderr
    assert "earlier-run-without-list" in said and "name the folder of its run" in said


def test_a_run_is_judged_in_groups_of_people_and_of_pictures(home: Path, run: Path) -> None:
    answers = pd.read_parquet(run / "predictions.parquet")
    people = sorted(answers["subject"].unique())
    sex = {name: "female" if number % 2 else "male" for number, name in enumerate(people)}
    (home / "people.csv").write_text("\n".join(["subject;Sex", *(f"{name};{each}" for name, each in sex.items())]))
    poses = [f"{name},fear,{'left' if row % 3 else 'right'}" for row, name in enumerate(answers["image"][:-2])]
    (home / "poses.csv").write_text("\n".join(["path,label,pose", *poses]))
    words = ["evaluate", run, "--by", home / "people.csv", "--by", home / "poses.csv"]
    document = json.loads(mien(*words, "--json").stdout)
    kept = (run / "groups.json").read_text()
    assert json.loads(kept) == document["groups"] and document["report"] == str(run / "report.html")
    assert not any(f'"{name}"' in kept for name in [*people, *answers["image"]])
    found, pose = document["groups"]["columns"]
    right = (answers["label"] == answers["predicted"]).groupby(answers["subject"].map(sex)).mean()
    assert {each["name"]: each["accuracy"]["value"] for each in found["groups"]} == pytest.approx(right.to_dict())
    assert sum(each["units"] for each in found["groups"]) == len(people) and document["groups"]["unit"] == "people"
    assert pose["unnamed"] == 2 and sum(each["pictures"] for each in pose["groups"]) == len(answers) - 2
    page = (run / "report.html").read_text()
    assert 'id="groups"' in page and "female against male" in page and (run / "figures/groups-2-accuracy.svg").exists()
    told = mien(*words).stdout
    assert "female against male" in " ".join(told.split()) and "pose: 2 of" in told and "a gap need not come" in told


def test_groups_of_other_data_are_told_and_not_kept(home: Path, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / "groups.json").unlink(missing_ok=True)
    elsewhere = ["--source", "folders", "--root", tree(tmp_path / "mine"), "--split", "all"]
    pictures = sorted(path.relative_to(tmp_path / "mine").as_posix() for path in (tmp_path / "mine").rglob("*.png"))
    rows = [f"{name},{'phone' if number % 2 else 'still'}" for number, name in enumerate(pictures)]
    (tmp_path / "cameras.csv").write_text("\n".join(["image,camera", *rows]))
    mien("export", run, "--out", tmp_path / "own.onnx")
    for judge, more in ((folder, ()), (tmp_path / "own.onnx", ("--crop", "whole"))):
        words = ["evaluate", judge, *elsewhere, *more, "--by", tmp_path / "cameras.csv"]
        groups = json.loads(mien(*words, "--json").stdout)["groups"]
        assert groups["unit"] == "pictures" and [each["column"] for each in groups["columns"]] == ["camera"]
        assert sum(each["pictures"] for each in groups["columns"][0]["groups"]) == len(pictures)
        assert "people" not in mien(*words, "--out", tmp_path / "answers.csv").stdout
    assert not (folder / "groups.json").exists() and len(pd.read_csv(tmp_path / "answers.csv")) == len(pictures)
    kept = pd.read_parquet(folder / "samples.parquet", columns=["image", "split"])
    learned = kept["image"][kept["split"] == "train"]
    pd.DataFrame({"image": learned, "camera": "phone"}).to_csv(tmp_path / "learned.csv", index=False)
    tested = kept["image"][kept["split"] == "test"]
    pd.DataFrame({"image": tested, "age": range(len(tested))}).to_csv(tmp_path / "ages.csv", index=False)
    before = len(ledger.openings(folder.parent))
    wrong = {
        "cameras.csv": "names none of the",
        "nowhere.csv": "not a readable list",
        "learned.csv": "names none of the",
    }
    for name, said in (wrong | {"ages.csv": "no column makes groups"}).items():
        assert said in mien("evaluate", folder, "--by", tmp_path / name, check=1).stderr
    assert len(ledger.openings(folder.parent)) == before, "such a list opens no test rows"


def test_figures_on_pictures_that_the_run_learned_from_say_so(run: Path) -> None:
    notes = {
        split: " ".join(json.loads(mien("evaluate", run, "--split", split, "--json").stdout)["notes"])
        for split in ("train", "validation", "all")
    }
    assert "it was fitted on" in notes["train"] and "were chosen on" not in notes["train"]
    assert "were chosen on" in notes["validation"] and "fitted on" not in notes["validation"]
    assert "it was fitted on" in notes["all"] and "were chosen on" in notes["all"]


def test_corruptions_meet_the_chain(home: Path, tmp_path: Path) -> None:
    chain = "[grey, equalise, {resize: 24}, {normalise: half}]"
    mien("train", home / "small.yaml", "--set", f"chain={chain}", "--out", tmp_path / "equal")
    mien("evaluate", tmp_path / "equal", "--robustness")
    found = json.loads((tmp_path / "equal" / "robustness.json").read_text())
    assert found["clean"]["accuracy"]["value"] == metrics(tmp_path / "equal")["test"]["metrics"]["accuracy"]["value"]
    opened = finished(tmp_path / "equal")
    material, rows = rows_of(opened, "test")
    faded = [
        opened.chain.run(corrupt(material.samples.reader.read(image)[None], "contrast", 3)[0]).pixels
        for image in material.samples.table["image"].iloc[rows]
    ]
    right = opened.probabilities(np.stack(faded)).argmax(axis=1) == material.samples.targets[rows]
    assert found["corruptions"]["contrast"][2]["accuracy"]["value"] == pytest.approx(right.mean())


def test_folds_that_are_missing_are_told(home: Path, run: Path, tmp_path: Path) -> None:
    words = ["--set", "split={method: kfold, folds: 3, fold: all}", "--set", "fit.epochs=1"]
    mien("train", home / "small.yaml", *words, "--out", tmp_path / "folds")
    page = mien("report", tmp_path / "folds")
    assert "are finished" not in page.stdout
    shutil.rmtree(tmp_path / "folds" / "fold-1")
    assert "2 of the 3 runs of folds are finished" in mien("report", tmp_path / "folds").stdout
    single = [tmp_path / "folds" / "fold-0", home / "run"]
    (tmp_path / "folds" / "fold-1").mkdir()
    shutil.copy(tmp_path / "folds" / "fold-0" / "metrics.json", tmp_path / "folds" / "fold-1")
    assert "are finished" not in mien("report", *single, "--out", tmp_path / "two.html").stdout
    shutil.rmtree(tmp_path / "folds" / "fold-1")
    assert "2 of the 3 runs of folds are finished" in (tmp_path / "folds" / "report.html").read_text(encoding="utf-8")


def test_a_folder_of_runs_is_no_run_to_start_from(home: Path, tmp_path: Path) -> None:
    several = ["--set", "seeds=[0, 1]", "--set", "fit.epochs=1", "--out", tmp_path / "often"]
    mien("train", home / "small.yaml", *several)
    for key in ("model.weights={}", "fit.teachers=[{}]"):
        words = ["--set", "model.transfer=full"] * key.startswith("model") + ["--set", key.format(tmp_path / "often")]
        said = mien("train", home / "small.yaml", *words, "--out", tmp_path / "on", check=1).stderr
        assert "a folder of runs" in said and str(tmp_path / "often" / "seed-1") in said


def test_the_name_of_a_protocol_is_not_lent_to_another_split(home: Path) -> None:
    lab = home / "lab.yaml"
    lab.write_text("source: synthetic\noptions: {count: 240, size: 24, seed: 3}\nsplit: {method: grouped-kfold}\n")
    words = ["train", home / "small.yaml", "--set", f"protocol={lab}", "--set", "fit.epochs=1"]
    said = mien(*words, "--set", "split.method=stratified", "--out", home / "lent", check=2).stderr
    assert "split.method: stratified" in said and "split.method: grouped-kfold" in said
    fewer = ["--set", "split.method=grouped-kfold", "--set", "data.limit=120", "--out", home / "lent"]
    assert "data.limit: 120" in mien(*words, *fewer, check=2).stderr
    mien(*words, "--set", "split.method=grouped-kfold", "--set", "split.fold=3", "--out", home / "lab")
    assert metrics(home / "lab")["protocol"]["name"] == "lab"


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


def test_smote_children_never_leave_the_training_part(home: Path) -> None:
    mien(
        "train", home / "small.yaml", "--set", "fit.epochs=1",
        "--set", "balance.steps=[{smote: {neighbours: 2, target: 30}}]", "--out", home / "smote",
    )  # fmt: skip
    samples = pd.read_parquet(home / "smote" / "samples.parquet")
    made = samples[samples["parent"].notna()]
    assert len(made) and set(made["split"]) == {"train"}
    assert (samples.loc[made["parent"].astype(int), "split"] == "train").all()
    assert (samples.loc[made["parent"].astype(int), "label"].to_numpy() == made["label"].to_numpy()).all()


def test_the_published_order_is_let_through_and_says_so_everywhere(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = mien(
        "train", home / "small.yaml", "--set", "fit.epochs=1", "--set", "split.method=stratified",
        "--set", "balance={order: balance-before-split, steps: [{smote: {neighbours: 2, target: 60}}]}",
        "--out", home / "before",
    )  # fmt: skip
    assert "balanced before the split" in done.stdout
    page, rows = (home / "before" / "report.html").read_text(), pd.read_parquet(home / "before" / "samples.parquet")
    assert "balanced before the split" in page and "Balancing of all pictures before the split" in page
    tested = rows[rows["split"] == "test"]
    real = (tested["source"] != "made").sum()
    assert 0 < real < len(tested) and f"test rows, {real} of them real pictures" in page
    assert f"test, {len(tested)} rows, {real} of them real pictures" in page
    judged, kept = json.loads(mien("evaluate", home / "before", "--json").stdout), metrics(home / "before")
    assert "balanced before the split" in " ".join(judged["notes"])
    assert "made rows of" in caplog.text and judged["figures"]["rows"] < kept["test"]["rows"]
    assert kept["protocol"]["digest"][:12] not in judged["protocol"], "other rows are another protocol"
    codes = {finding["code"] for finding in json.loads((home / "before" / "audit.json").read_text())["findings"]}
    assert any("child" in code for code in codes), codes
    refused = mien(
        "train", home / "small.yaml", "--set", "fit.epochs=1", "--set", "split.method=stratified",
        "--set", "balance={order: balance-before-split, steps: [{smote: {neighbours: 2, target: 60}}]}",
        "--set", "audit=strict", "--out", home / "strict", check=3,
    )  # fmt: skip
    assert "the audit blocks" in refused.stderr


def test_unreadable_pictures_are_counted_and_the_run_goes_on(home: Path) -> None:
    folder = home / "broken"
    rng = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (folder / label).mkdir(parents=True)
        for i in range(20):
            cv2.imwrite(str(folder / label / f"{i}.png"), rng.integers(0, 255, (24, 24), dtype=np.uint8))
    (folder / "sad" / "empty.png").write_bytes(b"")
    words = [
        "train", home / "small.yaml", "--set", "data={source: folders, root: " + str(folder) + "}",
        "--set", "split.method=stratified", "--set", "fit.epochs=1", "--out",
    ]  # fmt: skip
    assert "1 unreadable picture left out" in mien(*words, home / "broken-run").stdout
    assert "sad/empty.png" in (home / "broken-run" / "problems.csv").read_text()
    refused = mien(*words, home / "broken-strict", "--strict", check=1)
    assert "empty.png" in refused.stderr


def test_a_grid_with_one_failing_cell_finishes_the_others(home: Path) -> None:
    (home / "grid.yaml").write_text(
        "name: grid\nbase: {"
        + "name: x, data: {source: synthetic, options: {count: 240, size: 24, seed: 3}}, "
        + "chain: [grey, {resize: 24}], evaluate: {bootstrap: 50}, "
        + "fit: {epochs: 5, batch: 16, optimiser: adamw, learning_rate: 0.003}, "
        + "model: {backbone: mien-tiny}}\n"
        + "axes:\n  balance:\n    none: {}\n"
        + "    impossible:\n      balance.steps: [{smote: {neighbours: 500, target: 30}}]\n"
        + "    unheard:\n      balance.steps: [{smote: {neighbours: 400, target: 30}}]\n"
        + "    oversampled:\n      balance.steps: [{oversample: {target: 30}}]\n"
    )
    failed = mien("compare", home / "grid.yaml", "--out", home / "grid", "--json", check=1)
    document = json.loads(failed.stdout)
    assert [row["run"] for row in document["runs"]] == ["grid-none", "grid-oversampled"]
    assert list(document["failures"]) == ["grid-impossible", "grid-unheard"]
    said = [line.strip() for line in failed.stderr.splitlines() if ": DataError: " in line]
    assert [line.removeprefix("given:").split(":")[0].strip() for line in said] == ["grid-impossible", "grid-unheard"]
    assert "grid-oversampled" in (home / "grid" / "comparison.html").read_text()
    shown = json.loads((home / "grid" / "comparison-figures" / "gallery.json").read_text())["tiles"]
    assert shown, "the pictures whose answers changed are in the page"
    mien("report", home / "grid" / "grid-none", home / "grid" / "grid-oversampled", "--out", home / "by-hand.html")
    assert json.loads((home / "by-hand-figures" / "gallery.json").read_text())["tiles"] == shown
    kept = (home / "grid" / "grid-none" / "metrics.json").stat().st_mtime_ns
    mien("compare", home / "grid.yaml", "--out", home / "grid", check=1)
    assert (home / "grid" / "grid-none" / "metrics.json").stat().st_mtime_ns == kept


def test_what_no_network_can_learn_is_said(home: Path) -> None:
    rng = np.random.default_rng(0)
    for part, labels in (("train", ("happy", "sad")), ("test", ("happy", "sad", "disgust"))):
        for label in labels:
            (home / "parts" / part / label).mkdir(parents=True)
            for i in range(12):
                picture = rng.integers(0, 255, (24, 24), dtype=np.uint8)
                cv2.imwrite(str(home / "parts" / part / label / f"{i}.png"), picture)
    changes = ["--set", f"data={{source: folders, root: {home / 'parts'}}}", "--set", "split.method=official"]
    said = mien("train", home / "small.yaml", *changes, "--set", "fit.epochs=1", "--out", home / "lost").stdout
    assert "no training row shows disgust: the 12 test rows" in said.replace("\n", " ")


def test_what_cannot_be_judged_opens_nothing(home: Path, run: Path) -> None:
    noted = (run.parent / ledger.NAME).read_text()
    words = ["evaluate", run, "--source", "synthetic", "--option", "count=60", "--option", "size=24", "--split", "all"]
    assert mien(*words, "--merge", "foo=anger", check=2).stderr
    assert (run.parent / ledger.NAME).read_text() == noted


def test_training_pictures_that_all_have_a_twin_leave_nothing_to_train_on(home: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("happy", "sad"):
        for part in ("train", "valid", "test"):
            (home / "all-twins" / part / label).mkdir(parents=True)
        for i in range(12):
            picture = rng.integers(0, 255, (24, 24), dtype=np.uint8)
            for part in ("train", "valid" if i % 2 else "test"):
                cv2.imwrite(str(home / "all-twins" / part / label / f"{i}.png"), picture)
    changes = ["--set", f"data={{source: folders, root: {home / 'all-twins'}}}", "--set", "split.method=official"]
    words = ["train", home / "small.yaml", *changes, "--set", "split.clean=train", "--out", home / "no-rows"]
    assert "all 24 training pictures have a twin" in mien(*words, check=1).stderr
    assert not (home / "no-rows").exists()


def test_a_grid_is_no_recipe_and_a_folder_of_runs_no_run(home: Path) -> None:
    assert "mien compare habits" in mien("train", "habits", check=2).stderr
    assert "mien replay smote-vgg19" in mien("train", "studies/smote-vgg19", check=2).stderr
    (home / "a-file").touch()
    assert "cannot write" in mien("compare", home / "small.yaml", "--out", home / "a-file", check=1).stderr


def test_a_comparison_says_what_spoils_it_under_its_table(home: Path) -> None:
    balance = "{order: balance-before-split, steps: [{smote: {neighbours: 2, target: 60}}]}"
    grid = yaml.safe_load((home / "small.yaml").read_text()) | {"fit": {"epochs": 1, "batch": 32}}
    treatments = {"clean": {}, "early": {"split.method": "stratified", "balance": yaml.safe_load(balance)}}
    (home / "orders.yaml").write_text(
        yaml.safe_dump({"name": "orders", "base": grid, "axes": {"order": treatments}}, sort_keys=False)
    )
    document = json.loads(mien("compare", home / "orders.yaml", "--out", home / "orders", "--json").stdout)
    assert any("Different protocols" in warning for warning in document["warnings"])
    assert "balanced before the split" in " ".join(document["notes"]["orders-early"])
    said = mien("compare", home / "orders.yaml", "--out", home / "orders").stdout
    assert "warning: Different protocols" in said and "note: orders-early: balanced before the split" in said


def test_a_page_without_a_name_replaces_no_other(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run, tmp_path / "twin")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cross.html").write_text("mine")
    (tmp_path / "comparison.html").write_text("mine")
    assert json.loads(mien("cross", run, "--json").stdout)["report"] == "cross-2.html"
    assert "report: cross-3.html" in mien("cross", run).stdout
    assert "comparison-2.html" in mien("report", run, tmp_path / "twin").stdout
    assert {(tmp_path / name).read_text() for name in ("cross.html", "comparison.html")} == {"mine"}
    mien("cross", run, "--out", "cross.html")
    assert (tmp_path / "cross.html").read_text() != "mine", "a name that is given may be taken again"


def test_pages_and_refusals_need_no_training_library(home: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "twin")
    (tmp_path / "folders.yaml").write_text(
        yaml.safe_dump(yaml.safe_load(RECIPE) | {"data": {"source": "folders", "root": str(tree(tmp_path / "mine"))}})
    )
    script = (
        "import atexit, sys\n"
        "heavy = 'torch', 'timm', 'lightning'\n"
        "atexit.register(lambda: print('loaded:', *(name for name in heavy if name in sys.modules)))\n"
        "from mien.cli import main\n"
        "main()\n"
    )

    def said(*words: object, code: int) -> str:
        done = subprocess.run([sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert done.stdout.endswith("loaded:\n"), done.stdout
        return done.stdout + done.stderr

    assert "two.html" in said("report", run, tmp_path / "twin", "--out", tmp_path / "two.html", code=0)
    mine = ["train", tmp_path / "folders.yaml", "--out", tmp_path / "new"]
    assert "did you mean 'epochs'" in said(*mine, "--set", "fit.epoch=1", code=2)
    assert "absent" in said(*mine, "--set", f"data.root={tmp_path / 'absent'}", code=1)
    assert "subject" in said(*mine, "--set", "split.method=grouped", code=1)
    assert "none for validation" in said(*mine, "--set", "split={method: stratified, fractions: [1, 0, 0]}", code=1)
    assert "already holds a run" in said("train", home / "small.yaml", "--out", run, code=1)
    assert "did you mean 'epochs'" in said("compare", tmp_path / "folders.yaml", "--set", "fit.epoch=1", code=2)
    assert not (tmp_path / "new").exists()


def test_wrong_usage_ends_with_two_and_says_what_is_allowed(home: Path) -> None:
    assert "did you mean 'epochs'" in mien("train", home / "small.yaml", "--set", "fit.epoch=1", check=2).stderr
    assert "fer2013" in mien("train", "nothing", check=2).stderr
    assert "is not a finished run" in mien("export", home, check=1).stderr
    missing = mien("train", "fer2013", "--set", f"data.root={home / 'absent'}", "--out", home / "absent-run", check=1)
    assert "fer2013.csv" in missing.stderr
    assert not (home / "absent-run").exists(), "a run that could not start leaves nothing"
    assert "name a run folder written by mien train" in mien("evaluate", home / "absent-run", check=1).stderr
    assert "name a run folder written by mien train" in mien("report", home / "absent-run", check=1).stderr


def test_a_network_that_cannot_be_had_leaves_no_run_behind(home: Path) -> None:
    (home / "broken.pt").write_bytes(b"no tensors")
    for weights, words in (("absent.pt", "no weights at"), ("broken.pt", "not a file of plain tensors")):
        taken = ["--set", "model.transfer=full", "--set", f"model.weights={home / weights}"]
        assert words in mien("train", home / "small.yaml", *taken, "--out", home / "unmade", check=1).stderr
        assert not (home / "unmade").exists()


def test_an_embedding_without_a_class_in_training_is_refused_before_it_is_fitted(home: Path) -> None:
    (home / "triplet.yaml").write_text("""
name: triplet
data: {source: synthetic, options: {count: 48, size: 16, shares: {happy: 1, sad: 1, surprise: 0}}}
chain: [grey, {resize: 32}]
triplet: {epochs: 1, validation_rows: 8}
evaluate: {bootstrap: 20}
""")
    said = mien("train", home / "triplet.yaml", "--out", home / "triplet", check=1).stderr
    assert "none of surprise" in said and "data.classes" in said
    assert not (home / "triplet").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from mien.cli import main; main()", "models", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1 and "a disk is full" in done.stderr and "Traceback" not in done.stderr


def test_a_full_disk_leaves_nothing_half_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.errors import DataError
    from mien.experiment import train
    from mien.recipe import load

    recipe = load(home / "small.yaml", ["data.options.seed=99"])
    monkeypatch.setenv("MIEN_CACHE", "/dev/full/cache")
    with pytest.raises(DataError, match="cannot write"):
        train(recipe, home / "full")


@pytest.mark.parametrize("file", ["samples.parquet", "best.pt", "last.ckpt"])
def test_a_disk_that_fills_up_during_a_run_is_told_with_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    def full(beside: Path, path: Path) -> Path:
        if path.name == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(beside, path)

    replace = Path.replace
    monkeypatch.setattr(Path, "replace", full)
    said = mien("train", home / "small.yaml", "--set", "fit.epochs=1", "--out", home / f"full-{file}", check=1).stderr
    assert f"{file}: No space left on device" in said
    assert not [path for path in (home / f"full-{file}").rglob("*") if path.name.startswith(".")]


def test_a_place_that_cannot_be_written_to_is_told(home: Path, run: Path) -> None:
    said = mien("train", home / "small.yaml", "--set", "fit.epochs=1", "--out", home / "small.yaml" / "run", check=1)
    assert "cannot write" in said.stderr and "small.yaml/run" in said.stderr
    (page := home / "folder.html").mkdir()
    assert f"cannot write {page}: Is a directory" in mien("report", run, "--out", page, check=1).stderr


@pytest.mark.parametrize("asked", ["--robustness", "--explain"])
def test_a_run_is_asked_further_and_its_report_shows_it(run: Path, asked: str) -> None:
    before = len(ledger.openings(run.parent))
    document = json.loads(mien("evaluate", run, asked, "--json").stdout)
    assert len(ledger.openings(run.parent)) == before + 1
    if asked == "--robustness":
        assert document["robustness"]["clean"]["accuracy"]["value"] == pytest.approx(
            metrics(run)["test"]["metrics"]["accuracy"]["value"]
        )
        assert "robustness" in (run / "report.html").read_text().lower()
    else:
        assert all(Path(path).stat().st_size > 0 for path in document["explain"])
        assert (run / "report.html").read_text().count("data:image/png") >= 2


def test_pages_of_runs_without_intervals_speak_of_none(home: Path, tmp_path: Path) -> None:
    words = ["--set", "seeds=[0, 1]", "--set", "fit.epochs=1", "--set", "evaluate.bootstrap=0"]
    mien("train", home / "small.yaml", *words, "--out", tmp_path / "bare")
    for page in (tmp_path / "bare" / "report.html", tmp_path / "bare" / "seed-0" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert '<div class="range">95% interval' not in text and "()" not in text
