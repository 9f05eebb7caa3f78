"""Protocols and their digests, and the ledger that counts how often a test split was opened."""

import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data import protocols
from mien.data.audit import look
from mien.data.prepare import pixel_digest
from mien.data.samples import SPLITS, Rows, Samples, table
from mien.data.sources import catalog, fer2013
from mien.data.split import SplitSpec, assign
from mien.errors import DataError, MienError, RunError, UsageError
from mien.evaluation import ledger
from mien.labels import LABEL_SETS
from mien.recipe import parse

LABELS = ("anger", "fear")


def chosen(name: str, root: Path | None = None, fold: int = 0) -> Samples:
    """The samples of a protocol, split as it says."""
    _, protocol = protocols.find(name)
    samples = catalog.load(protocol.source, root, **protocol.options)
    return assign(samples, replace(protocol.split, fold=fold))


def samples_of(rows: list[tuple[str, str, str]]) -> Samples:
    digests, labels, splits = zip(*rows, strict=True)
    content = table([f"#{i}" for i in range(len(rows))], labels, source="mine", split=splits, digest=digests)
    return Samples(content, LABELS, Rows(np.zeros((len(rows), 4, 4), np.uint8), "mine"))


row = st.tuples(st.text("0123456789abcdef", min_size=4, max_size=4), st.sampled_from(LABELS), st.sampled_from(SPLITS))


@settings(max_examples=25, deadline=None)
@given(st.lists(row, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_digest_knows_rows_labels_and_split_but_not_their_order(rows: list, random: object) -> None:
    digest = protocols.rows_digest(samples_of(rows))
    shuffled = rows.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert protocols.rows_digest(samples_of(shuffled)) == digest
    for column, other in ((0, "another"), (1, LABELS[rows[0][1] == LABELS[0]]), (2, SPLITS[rows[0][2] == SPLITS[0]])):
        changed = [*rows[0]]
        changed[column] = other
        assert protocols.rows_digest(samples_of([tuple(changed), *rows[1:]])) != digest
    assert protocols.rows_digest(samples_of([*rows, rows[0]])) != digest


def test_results_are_named_with_their_digest_and_mixed_ones_give_a_warning() -> None:
    one = samples_of([("aa", "fear", "train"), ("bb", "anger", "test")])
    other = samples_of([("aa", "fear", "train"), ("bb", "fear", "test")])
    assert protocols.describe(one) == f"mine@{protocols.rows_digest(one)[:12]}"
    assert protocols.describe(one, "p").startswith("p@")
    assert protocols.same_protocol([protocols.describe(one), protocols.describe(one, "p")]) == []
    (warning,) = protocols.same_protocol([protocols.describe(one), protocols.describe(other)])
    assert protocols.describe(one) in warning
    assert protocols.describe(other) in warning


def test_pixels_that_were_not_prepared_have_no_digest() -> None:
    with pytest.raises(DataError, match="digest of every picture"):
        protocols.rows_digest(samples_of([(None, "fear", "train")]))  # type: ignore[list-item]


def test_every_protocol_names_a_source_and_options_it_knows() -> None:
    for protocol in protocols.PROTOCOLS.values():
        assert set(protocol.options) <= set(catalog.SOURCES[protocol.source].options)
    assert set(protocols.PROTOCOLS) == {
        "fer2013-official", "ferplus-majority", "ferplus-plurality", "ckplus-subject-10fold",
    }  # fmt: skip


def test_a_protocol_of_ones_own_is_a_yaml_file_and_is_held_to_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("source: synthetic\noptions: {count: 60, size: 24}\nsplit: {method: grouped, seed: 3}\n")
    samples = chosen(str(path))
    seen = replace(samples, table=samples.table.assign(digest=pd.array(look(samples, tmp_path).digests, "string")))
    said = protocols.check(str(path), seen)
    assert said.startswith("lab@")
    path.write_text(path.read_text() + f"digest: {said.partition('@')[2]}\n")
    assert protocols.check(str(path), seen) == said
    with pytest.raises(DataError, match="not the rows, labels and split of protocol lab"):
        protocols.check(str(path), seen.take(np.arange(len(seen) - 1)))


def test_a_protocol_without_a_digest_still_holds_a_recipe_to_its_source_options_and_split(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("source: synthetic\noptions: {count: 60, size: 24}\nsplit: {method: grouped-kfold, folds: 3}\n")
    _, lab = protocols.find(str(path))
    rows = samples_of([("aa", "fear", "train"), ("bb", "anger", "test")])
    same = replace(lab, options={**lab.options, "seed": 0}, split=SplitSpec("grouped-kfold", folds=3, fold=2))
    protocols.hold(str(path), same)
    assert protocols.check(str(path), rows).startswith("lab@")
    early = {"balance": {"order": "balance-before-split", "steps": ["oversample"]}, "data": {"source": "synthetic"}}
    assert parse({"name": "x", "chain": ["grey", {"resize": 24}], **early}).changed_rows == {
        "balance.order": "balance-before-split"
    }
    with pytest.raises(UsageError, match="protocol lab") as narrowed:
        protocols.hold(str(path), same, {"data.limit": 40})
    assert narrowed.value.got == ["data.limit: 40"] and narrowed.value.allowed == ["data.limit: unset"]
    for used, ours, theirs in (
        (replace(lab, source="jaffe", options={}), "data.source: jaffe", "data.source: synthetic"),
        (replace(lab, options={"count": 60}), "data.options.size", "data.options.size: 24"),
        (
            replace(lab, split=SplitSpec("stratified", folds=3)),
            "split.method: stratified",
            "split.method: grouped-kfold",
        ),
    ):
        with pytest.raises(UsageError, match="protocol lab") as refused:
            protocols.hold(str(path), used)
        assert ours in str(refused.value.got) and theirs in str(refused.value.allowed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("fer2013-offical", None),
        ("absent.yaml", None),
        ("odd.yaml", "source: [1"),
        ("odd.yaml", "sauce: fer2013"),
        ("odd.yaml", "source: fer2013\nsplit: {metod: grouped}"),
        ("odd.yaml", "source: fer2013\nsplit: {method: by-moonlight}"),
    ],
)
def test_what_is_no_protocol_is_a_usage_error(name: str, content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    given = str(tmp_path / name) if name.endswith(".yaml") else name
    with pytest.raises(UsageError):
        protocols.find(given)


def test_ckplus_folds_test_every_row_once_and_share_no_person(tmp_path: Path) -> None:
    for subject in range(20):
        for number, name in enumerate(("anger", "happy")):
            path = tmp_path / "CK+48" / name / f"S{subject:03d}_{number:03d}_00000017.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((48, 48), subject, np.uint8))
    tested = []
    for fold in range(10):
        samples = chosen("ckplus-subject-10fold", tmp_path, fold)
        tested += samples.table["image"].iloc[samples.rows("test")].tolist()
        assert samples.table.groupby("subject")["split"].nunique().max() == 1
    assert sorted(tested) == sorted(samples.table["image"])


@pytest.fixture(scope="module")
def faces(shared: Path) -> pd.DataFrame:
    """The rows of FER2013 with the digest of each picture, read from the sheets they are kept on."""
    sheets = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(shared.glob("data/fer2013/sheet-*.png"))]
    tiles = [one.reshape(len(one) // 48, 48, 64, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48) for one in sheets]
    rows = pd.read_csv(shared / "data" / "fer2013" / "labels.csv", keep_default_na=False)
    pixels = np.concatenate(tiles)[: len(rows)]
    return rows.assign(digest=[pixel_digest(np.ascontiguousarray(picture)) for picture in pixels])


def test_fer2013_as_published_has_the_pinned_digest(faces: pd.DataFrame) -> None:
    content = table(
        faces["row"].astype(str), [fer2013.CODES[code] for code in faces["emotion"]], source="fer2013",
        split=[fer2013.SPLITS[usage] for usage in faces["Usage"]], digest=faces["digest"],
    )  # fmt: skip
    samples = Samples(content, LABEL_SETS["fer2013"], Rows(np.zeros((1, 48, 48), np.uint8), "none"))
    assert protocols.check("fer2013-official", samples).startswith("fer2013-official@")
    with pytest.raises(DataError, match="protocol fer2013-official"):
        protocols.check("fer2013-official", samples.take(np.arange(1, len(samples))))


@pytest.mark.parametrize("names", ["ferplus_name", "row"])
@pytest.mark.parametrize(("mode", "test_rows"), [("majority", 3153), ("plurality", 3546)])
def test_ferplus_as_its_authors_choose_rows_has_a_pinned_digest(
    mode: str, test_rows: int, names: str, faces: pd.DataFrame, tmp_path: Path
) -> None:
    # Four names stand for two rows each: in folders the later picture, by row each its own.
    votes = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
    with (tmp_path / "fer2013new.csv").open("w", newline="") as stream:
        write = csv.writer(stream)
        write.writerow(["Usage", "Image name", *votes])
        write.writerows(faces[["Usage", names, *votes]].itertuples(index=False))
    (tmp_path / "FER2013Train").mkdir()
    samples = chosen(f"ferplus-{mode}", tmp_path)
    digest = dict(zip(faces[names].astype(str), faces["digest"], strict=True))
    known = pd.array([digest[Path(image).name] for image in samples.table["image"]], dtype="string")
    samples = replace(samples, table=samples.table.assign(digest=known))
    assert protocols.check(f"ferplus-{mode}", samples).startswith(f"ferplus-{mode}@")
    assert len(samples.rows("test")) == test_rows


def test_a_layout_of_rows_and_one_of_files_give_one_digest(shared: Path, tmp_path: Path) -> None:
    said = set()
    for layout in ("kaggle-csv", "folders"):
        unpack = [sys.executable, shared / "data" / "unpack.py", tmp_path / layout, "--layout", layout, "--limit", "20"]
        subprocess.run(unpack, check=True, capture_output=True)
        samples = assign(catalog.load("fer2013", tmp_path / layout), protocols.PROTOCOLS["fer2013-official"].split)
        digests = pd.array(look(samples, tmp_path / "cache").digests, dtype="string")
        said.add(protocols.describe(replace(samples, table=samples.table.assign(digest=digests)), "p"))
    assert len(said) == 1


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs on its own: a ledger is looked for in the two folders above it too."""
    return tmp_path / "above" / "runs"


def test_the_ledger_counts_openings_of_a_protocol_whatever_it_is_called(runs: Path) -> None:
    assert ledger.count(runs, "p@12") == 0
    assert ledger.record(runs, "p@12", "first") == 1
    assert ledger.record(runs, "q@34", "first") == 1
    assert ledger.record(runs, "renamed@12", "second") == 2
    assert ledger.record(runs, "p@12", "a line\u2028and another") == 3
    assert [(each.protocol, each.run) for each in ledger.openings(runs)] == [
        ("p@12", "first"), ("q@34", "first"), ("renamed@12", "second"), ("p@12", "a line\u2028and another"),
    ]  # fmt: skip


def test_runs_in_a_group_share_the_ledger_of_the_runs_above(runs: Path) -> None:
    ledger.record(runs / "alone", "p@12", "seed-0")
    assert (runs / "alone" / ledger.NAME).is_file(), "without a ledger above, one is begun beside the run"
    ledger.record(runs, "p@12", "first")
    assert ledger.record(runs / "seeds", "p@12", "seed-0") == 2
    assert ledger.record(runs / "grid" / "cell", "p@12", "seed-0") == 3
    assert ledger.count(runs / "grid" / "cell" / "deeper", "p@12") == 0
    assert [each.run for each in ledger.openings(runs)] == ["first", "seeds/seed-0", "grid/cell/seed-0"]


def test_recipes_over_seeds_share_a_ledger_from_the_first_run_on(runs: Path) -> None:
    for recipe in ("plain", "better"):
        ledger.begin(runs)
        opened = [ledger.record(runs / recipe, "p@12", f"seed-{seed}") for seed in (0, 1)]
    assert opened == [3, 4]
    assert [path.parent for path in runs.rglob(ledger.NAME)] == [runs]


@pytest.mark.parametrize("far", ["comparison", "deep/comparison", "far/deep/comparison"])
def test_the_cells_of_a_comparison_share_a_ledger_however_far_another_one_is(runs: Path, far: str) -> None:
    ledger.record(runs, "p@12", "first")
    ledger.begin(runs / far)
    seeds = [ledger.record(runs / far / "repeated", "p@12", f"seed-{seed}") for seed in (0, 1)]
    assert ledger.record(runs / far, "p@12", "once") == seeds[-1] + 1


def test_runs_side_by_side_lose_no_entry(runs: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda run: ledger.record(runs, "p@12", f"run-{run}"), range(80)))
    assert {each.run for each in ledger.openings(runs)} == {f"run-{run}" for run in range(80)}


def test_a_line_that_is_being_written_is_not_yet_an_entry(runs: Path) -> None:
    ledger.record(runs, "p@12", "first")
    with (runs / ledger.NAME).open("a") as stream:
        stream.write('{"protocol": "p@12", "ru')
    assert ledger.count(runs, "p@12") == 1


def test_a_broken_ledger_is_named_with_its_line(runs: Path) -> None:
    ledger.record(runs, "p@12", "first")
    with (runs / ledger.NAME).open("a") as stream:
        stream.write("{half\n")
    with pytest.raises(RunError, match="line 2") as failed:
        ledger.count(runs, "p@12")
    assert isinstance(failed.value, MienError)
