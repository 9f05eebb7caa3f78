"""What a run says of pictures that are on both sides of its split."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from runs import RECIPE, metrics, mien, tree

from mien import experiment
from mien.evaluation import calibration
from mien.imaging.decode import decode
from mien.judging.finished import finished, rows_of
from mien.recipe import Data, Dataset, parse
from mien.rows import read
from mien.run import inherited, leaks
from mien.training.fit import predict

# Libraries warn of their own future here and there; in a run that is theirs to say and no failure of ours.
pytestmark = pytest.mark.filterwarnings("default")


def test_people_of_the_synthetic_faces_stay_on_one_side(run: Path) -> None:
    samples = pd.read_parquet(run / "samples.parquet")
    assert (samples.groupby("subject")["split"].nunique() == 1).all()


def test_people_of_other_folders_are_other_people(tmp_path: Path) -> None:
    mine = {"source": "folders", "root": str(tmp_path / "a"), "options": {"pattern": "<subject>/<label>_*.jpg"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(yaml.safe_load(RECIPE) | {"data": mine}))
    assert inherited.names_same_people(tmp_path, Dataset(**mine))
    assert not inherited.names_same_people(tmp_path, Dataset(**(mine | {"root": str(tmp_path / "b")})))


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


def test_figures_on_pictures_that_the_run_learned_from_say_so(run: Path) -> None:
    notes = {
        split: " ".join(json.loads(mien("evaluate", run, "--split", split, "--json").stdout)["notes"])
        for split in ("train", "validation", "all")
    }
    assert "it was fitted on" in notes["train"] and "were chosen on" not in notes["train"]
    assert "were chosen on" in notes["validation"] and "fitted on" not in notes["validation"]
    assert "it was fitted on" in notes["all"] and "were chosen on" in notes["all"]


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
