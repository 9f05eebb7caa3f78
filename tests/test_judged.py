"""Runs and bundles judged once they are there: on other data, by votes, in groups, and against one another."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from layouts import FERPLUS_FOLDERS, VOTES_HEADER
from runs import RECIPE, metrics, mien, tree
from torch import nn

from mien.evaluation import ledger
from mien.evaluation.robustness import corrupt
from mien.imaging import operations
from mien.imaging.chain import Chain
from mien.imaging.decode import decode
from mien.imaging.faces import YuNetDetector, largest
from mien.imaging.framing import Framing, frame
from mien.imaging.models import find
from mien.judging.elsewhere import crossed
from mien.judging.finished import finished, rows_of
from mien.recipe import Dataset
from mien.runtime.bundle import load as load_bundle
from mien.runtime.recognizer import Recognizer

# Libraries warn of their own future here and there; in a run that is theirs to say and no failure of ours.
pytestmark = pytest.mark.filterwarnings("default")


def test_each_opening_of_the_test_split_is_counted(home: Path, run: Path) -> None:
    first, again = (json.loads(mien("evaluate", run, "--json").stdout) for _ in range(2))
    assert metrics(run)["opened"] < first["opened"] == again["opened"] - 1
    assert again["figures"]["metrics"]["accuracy"]["value"] == pytest.approx(
        metrics(run)["test"]["metrics"]["accuracy"]["value"]
    )


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


def test_a_run_whose_backbone_has_another_shape_now_is_told_so(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    recipe = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(recipe.replace("backbone: mien-tiny", "backbone: mien-small"))
    assert "do not fit mien-small" in mien("evaluate", copy, check=1).stderr


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
    bare = Path(shutil.copytree(run, home / "bare"))
    recipe = yaml.safe_load((bare / "recipe.yaml").read_text())
    (bare / "recipe.yaml").write_text(yaml.safe_dump(recipe | {"evaluate": recipe["evaluate"] | {"bootstrap": 0}}))
    (sexes,) = json.loads(mien("evaluate", bare, *words[2:4], "--json").stdout)["groups"]["columns"]
    bounds = [each["accuracy"]["low"] for each in (*sexes["groups"], *sexes["gaps"])]
    assert bounds == [None] * len(bounds), "as the recipe asks"


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


def test_what_cannot_be_judged_opens_nothing(home: Path, run: Path) -> None:
    noted = (run.parent / ledger.NAME).read_text()
    words = ["evaluate", run, "--source", "synthetic", "--option", "count=60", "--option", "size=24", "--split", "all"]
    assert mien(*words, "--merge", "foo=anger", check=2).stderr
    assert (run.parent / ledger.NAME).read_text() == noted


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
