"""Runs through the command line, from data to report: what they leave, resumption, seeds and folds, and bad input."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from runs import RECIPE, metrics, mien, tree

from mien import experiment
from mien.evaluation import ledger
from mien.evaluation.report.arms import keep_together
from mien.evaluation.report.folder import read_run
from mien.evaluation.report.methods import sentences
from mien.evaluation.report.works import references
from mien.files import alone
from mien.recipe import Data, load, parse
from mien.rows import remembering
from mien.runtime.recognizer import Recognizer

# Libraries warn of their own future here and there; in a run that is theirs to say and no failure of ours.
pytestmark = pytest.mark.filterwarnings("default")


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
    assert asked == {"on": ["prepare", "look", "compare"], "off": ["prepare"]}


def test_a_run_is_gone_on_with_by_its_folder(home: Path, run: Path) -> None:
    assert str(run / "report.html") in mien("train", run, "--resume").stdout.replace("\n", "")
    assert "already holds a run" in mien("train", run, check=1).stderr


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


def test_pictures_of_one_class_train_nothing(home: Path) -> None:
    data = tree(home / "one-class")
    for split in ("train", "validation", "test"):
        shutil.rmtree(data / split / "sad")
    words = ["train", home / "small.yaml", "--set", f"data={{source: folders, root: {data}}}", "--out", home / "one"]
    assert "training pictures of one class teach nothing" in mien(*words, check=1).stderr
    assert not (home / "one").exists()


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
    assert "HTML" in mien("cross", home / "seeds", "--out", home / "seeds.csv", check=2).stderr
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
    page = home / "folds" / "report.html"
    assert all(text in page.read_text() for text in ('<section id="groups">', ">left<", "gap, in points"))
    again = ["train", home / "small.yaml", "--set", "name=renamed", "--out", home / "folds", "--resume"]
    mien(*again, *(word for change in changes for word in ("--set", change)))
    assert '<section id="groups">' in page.read_text(), "the same answers again"
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
    keep_together(home / "folds", ["fold-0", "fold-1"])
    assert not (home / "folds" / "groups.json").exists(), "these are the groups of all folds"
    assert "--root" in mien("evaluate", home / "folds", "--root", home, check=2).stderr
    assert "fold: all needs method" in mien("train", home / "small.yaml", "--set", "split.fold=all", check=2).stderr


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
    page = (home / "grid" / "comparison.html").read_text()
    assert "grid-oversampled" in page and "since it failed: grid-impossible (DataError:" in page
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


def test_a_grid_is_no_recipe_and_a_folder_of_runs_no_run(home: Path) -> None:
    for grid in ("habits", "twins"):
        assert f"mien compare {grid}" in mien("train", grid, check=2).stderr
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
    assert "with itself" in mien("report", run, run, check=2).stderr
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


@pytest.mark.parametrize(
    ("size", "backbone", "said"),
    [
        (48, "vit_tiny_patch16_224", "cannot take pictures of 32x32"),
        (40, "xcit_nano_12_p16_224", "cannot be built for 40x40 pixels"),
    ],
)
def test_a_network_of_one_size_is_refused_before_anything_is_written(
    home: Path, size: int, backbone: str, said: str
) -> None:
    words = [f"chain=[grey, {{resize: {size}}}]", f"model={{backbone: {backbone}}}", "fit.progressive=0.5"]
    changes = [word for change in (*words, "fit.epochs=4") for word in ("--set", change)]
    assert said in mien("train", home / "small.yaml", *changes, "--out", home / "one-size", check=2).stderr
    assert not (home / "one-size").exists()


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


def test_an_embedding_with_one_picture_of_a_class_is_refused_before_it_is_fitted(home: Path) -> None:
    rng = np.random.default_rng(0)
    for split, sad in (("train", 1), ("validation", 2), ("test", 2)):
        for label, count in (("happy", 8), ("sad", sad)):
            (home / "lone" / split / label).mkdir(parents=True)
            for number in range(count):
                picture = rng.integers(0, 256, (16, 16), np.uint8)
                cv2.imwrite(str(home / "lone" / split / label / f"{number}.png"), picture)
    (home / "lone.yaml").write_text(f"""
name: lone
data: {{source: folders, root: {home / "lone"}}}
chain: [grey, {{resize: 32}}]
triplet: {{epochs: 1, validation_rows: 4}}
evaluate: {{bootstrap: 0}}
""")
    said = mien("train", home / "lone.yaml", "--out", home / "lone-run", check=1).stderr
    assert "one of sad" in said and "data.classes" in said and "oversample" in said
    assert not (home / "lone-run").exists()
    mien("train", home / "lone.yaml", "--set", "balance.steps=[oversample]", "--out", home / "lone-run")
    mien("train", home / "lone.yaml", "--set", "triplet.doubling=true", "--out", home / "lone-doubled")


def test_an_embedding_that_collapses_is_told_and_has_no_map(home: Path) -> None:
    (home / "collapsing.yaml").write_text("""
name: collapsing
data: {source: synthetic, options: {count: 80, size: 32}}
chain: [grey, {resize: 32}]
triplet: {epochs: 1, optimiser: sgd, learning_rate: 1000, validation_rows: 16}
evaluate: {bootstrap: 0}
""")
    folder = home / "collapsed"
    mien("train", home / "collapsing.yaml", "--out", folder)
    assert any(note.startswith("the embedding has collapsed") for note in metrics(folder)["notes"])
    assert not (folder / "figures" / "embedding.svg").exists()
    said = (folder / "report.html").read_text()
    assert "the embedding has collapsed" in said and "retrieval among training pictures" in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mien", "models", "--json"],
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


def test_pages_of_runs_without_intervals_speak_of_none(home: Path, tmp_path: Path) -> None:
    words = ["--set", "seeds=[0, 1]", "--set", "fit.epochs=1", "--set", "evaluate.bootstrap=0"]
    mien("train", home / "small.yaml", *words, "--out", tmp_path / "bare")
    for page in (tmp_path / "bare" / "report.html", tmp_path / "bare" / "seed-0" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert '<div class="range">95% interval' not in text and "()" not in text
