"""The audit: twins counted independently, planted near twins found, and every planted leak caught by its name."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.audit import (
    Audit,
    audit,
    children,
    clean_train,
    look,
    looks_of,
    refuse,
    twins,
)
from mien.data.audit.cells import close, gathered
from mien.data.audit.lists import write_lists
from mien.data.audit.near import near_pairs, near_twin_among
from mien.data.audit.planted import TRANSFORMATIONS, cropped_closely
from mien.data.audit.twins import figures, liken
from mien.data.balance import parse
from mien.data.material import balanced, readable, resplit
from mien.data.prepare import prepare
from mien.data.samples import Rows, Samples, table
from mien.data.sources import catalog, fer2013
from mien.data.split import SplitSpec, assign
from mien.errors import AuditBlocked, DataError
from mien.evaluation.report import write_audit_report
from mien.imaging.chain import Chain
from mien.imaging.decode import encode_png
from mien.labels import LABEL_SETS
from mien.run import inherited

LABELS = ("anger", "fear", "happiness")


def pictures(count: int, seed: int = 0, side: int = 48) -> np.ndarray:
    """Pictures as unlike as photographs: smooth noise with a little detail."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 7, 7))
    smooth = np.stack([cv2.resize(one, (side, side), interpolation=cv2.INTER_CUBIC) for one in coarse])
    return np.clip(128 + 45 * smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


def samples_of(pixels: np.ndarray, split: list[str | None] | None = None, **columns: object) -> Samples:
    count = len(pixels)
    columns.setdefault("label", [LABELS[i % 3] for i in range(count)])
    label = columns.pop("label")
    rows = table([f"#{i}" for i in range(count)], label, source="made-up", split=split or ["train"] * count, **columns)
    return Samples(
        rows, LABELS if set(label) <= set(LABELS) else LABEL_SETS["fer2013"], Rows(pixels, f"made-up:{count}")
    )


def found(samples: Samples, **options: object) -> Audit:
    return audit(samples, looks_of(samples.reader.pixels), **options)


def codes(result: Audit) -> dict[str, str]:
    return {finding.code: finding.severity for finding in result.findings}


def in_three_parts(count: int) -> list[str | None]:
    return [("train", "train", "validation", "test")[i % 4] for i in range(count)]


def test_an_exact_twin_across_the_split_is_named_with_its_label_conflict() -> None:
    pixels = pictures(20)
    pixels[3] = pixels[0]
    samples = samples_of(pixels, in_three_parts(20), label=["anger"] * 3 + ["fear"] * 17)
    result = found(samples)
    assert result.exact == {
        "groups": 1, "images": 2, "redundant": 1, "cross_split_groups": 1, "label_conflicts": 1,
        "twins_in_training": {"validation": 0, "test": 1},
    }  # fmt: skip
    assert result.near["groups"] == 0
    assert codes(result)["exact-twins-across-splits"] == "warning"
    assert codes(result)["exact-twins-conflicting-labels"] == "warning"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_exact_counts_follow_from_which_pictures_repeat(which: list[int], random: object) -> None:
    originals = pictures(7, seed=3, side=24)
    samples = samples_of(originals[which])
    counts = figures(samples, liken(looks_of(samples.reader.pixels)), "exact")
    sizes = [which.count(each) for each in set(which) if which.count(each) > 1]
    assert counts["groups"] == len(sizes)
    assert counts["images"] == sum(sizes)
    assert counts["redundant"] == len(which) - len(set(which))


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("count", [40, 200], ids=["all pairs", "descriptor"])
def test_a_near_twin_is_found_whatever_was_done_to_it(name: str, count: int) -> None:
    rng = np.random.default_rng(5)
    originals = list(pictures(count))
    copies = [TRANSFORMATIONS[name](originals[i], rng) for i in range(20)]
    looks = looks_of([*originals, *copies])
    pairs = near_pairs(looks.miniatures)
    got = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    planted = {(i, count + i) for i in range(20)}
    assert len(got & planted) >= 19
    assert not got - planted


@given(st.integers(0, 1000), st.integers(1, 400), st.floats(0.2, 0.8))
def test_a_search_in_cells_finds_close_pairs_alone_and_the_closest_for_certain(
    seed: int, count: int, threshold: float
) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(count, 8)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    queries = targets[: count // 2] + 0.01
    pairs = {pair for both in close(gathered(targets), queries, threshold) for pair in zip(*both, strict=True)}
    assert pairs <= set(zip(*np.nonzero(queries @ targets.T > threshold - 1e-6), strict=True))
    assert {(i, i) for i in range(len(queries))} <= pairs


def test_who_waits_for_pairs_hears_of_them() -> None:
    heard: list[tuple[int, int]] = []
    found(samples_of(pictures(40), in_three_parts(40)), progress=lambda done, count: heard.append((done, count)))
    assert heard and heard[-1] == (4 * 40 * 39 // 2, 4 * 40 * 39 // 2) and heard == sorted(heard)


def test_a_pair_is_as_alike_from_either_side() -> None:
    rng = np.random.default_rng(5)
    originals = pictures(50)
    crops = [one[3:45, 2 : 47 - i % 5] for i, one in enumerate(originals)]
    miniatures = looks_of([*originals, *(TRANSFORMATIONS["several"](crop, rng) for crop in crops)]).miniatures
    there, back = near_pairs(miniatures), near_pairs(miniatures[::-1])
    last = len(miniatures) - 1
    forth = dict(zip(zip(there.left, there.right, strict=True), there.similarity, strict=True))
    assert len(forth) > 20
    assert forth == dict(zip(zip(last - back.right, last - back.left, strict=True), back.similarity, strict=True))


@pytest.mark.parametrize("count", [20, 200], ids=["all pairs", "descriptor"])
def test_the_near_twins_of_one_set_in_another_are_found(count: int) -> None:
    rng = np.random.default_rng(5)
    originals = list(pictures(count))
    copies = [TRANSFORMATIONS[name](originals[i], rng) for i, name in enumerate(TRANSFORMATIONS)]
    strangers = pictures(30, seed=1)
    found = near_twin_among(looks_of([*copies, *strangers]).miniatures, looks_of(originals).miniatures)
    assert found[: len(copies)].sum() >= len(copies) - 1
    assert not found[len(copies) :].any()
    assert not near_twin_among(looks_of(strangers).miniatures, np.empty((0, 48, 48), np.uint8)).any()


def test_the_index_finds_what_all_pairs_find() -> None:
    originals = pictures(1500)
    copies = originals[:100, :, ::-1] // 2 + 40
    miniatures = np.concatenate([originals, copies])
    whole, indexed = near_pairs(miniatures), near_pairs(miniatures, indexed=500)
    assert len(whole) >= 100
    assert len(indexed) >= 0.95 * len(whole)
    apart = near_pairs(miniatures, indexed=500, first=1500)
    assert len(apart) >= 95 and (apart.left < 1500).all() and (apart.right >= 1500).all()
    assert 45 <= len(near_pairs(miniatures, indexed=500, first=1550)) <= 55, "half of the twins are on one side"


def test_a_near_twin_across_the_split_is_named_and_blocks_only_when_strict() -> None:
    pixels = pictures(40)
    pixels[3] = np.clip(pixels[0][:, ::-1].astype(int) + 20, 0, 255)
    result = found(samples_of(pixels, in_three_parts(40)))
    assert result.near["twins_in_training"] == {"validation": 0, "test": 1}
    assert codes(result)["near-twins-across-splits"] == "warning"
    refuse(result.blocking)
    with pytest.raises(AuditBlocked, match="near-twins-across-splits") as refused:
        refuse(result.strict().blocking)
    assert refused.value.exit_code == 3


def earlier_run(folder: Path, pixels: np.ndarray) -> Path:
    """A run folder as far as later runs read it: recipe, data, and the list of the pictures that it was fitted on."""
    for row, picture in enumerate(pixels):
        place = folder / "data" / LABELS[row % 3] / f"{row}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode_png(picture))
    data = {"source": "folders", "root": str(folder / "data")}
    (folder / "recipe.yaml").write_text(
        yaml.safe_dump({"name": "earlier", "data": data, "chain": ["grey", {"resize": 48}]})
    )
    kept = samples_of(pixels).table.assign(digest=looks_of(pixels).digests)
    kept["made_from"] = [[] for _ in pixels]
    kept.to_parquet(folder / "samples.parquet")
    return folder


def test_what_is_held_out_is_compared_with_what_an_earlier_run_was_fitted_on(tmp_path: Path) -> None:
    pixels, theirs = pictures(40), pictures(60, seed=1)
    pixels[3] = theirs[7]
    pixels[7] = np.clip(theirs[8][:, ::-1].astype(int) + 20, 0, 255)
    run, samples, looks = earlier_run(tmp_path, theirs), samples_of(pixels, in_three_parts(40)), looks_of(pixels)
    none = np.empty(0, np.int64)
    at_hand = {finding.code: finding for finding in inherited.findings(samples, looks, none, run)}
    assert {code: (one.severity, one.rows) for code, one in at_hand.items()} == {
        "held-out-seen-by-earlier-run": ("block", (3,)),
        "held-out-like-those-of-earlier-run": ("warning", (7,)),
    }
    shutil.rmtree(run / "data")
    absent = {finding.code: finding for finding in inherited.findings(samples, looks, none, run)}
    assert set(absent) == {"held-out-seen-by-earlier-run", "earlier-run-without-pictures"}
    assert absent["earlier-run-without-pictures"].count == 59 and absent["earlier-run-without-pictures"].leak


def test_people_and_choices_of_an_earlier_run_are_told(tmp_path: Path) -> None:
    pixels, theirs = pictures(40), pictures(60, seed=1)
    pixels[3], pixels[7] = theirs[7], theirs[8]
    kept = pd.read_parquet(earlier_run(tmp_path, theirs) / "samples.parquet")
    kept["split"] = ["validation" if row in (7, 8) else "train" for row in range(60)]
    kept["subject"] = [f"person {row}" for row in range(60)]
    kept.to_parquet(tmp_path / "samples.parquet")
    samples = samples_of(pixels, in_three_parts(40))
    people = ["person 20" if row in (3, 4) else f"other {row}" for row in range(40)]
    samples = replace(samples, table=samples.table.assign(subject=pd.array(people, dtype="string")))
    looks, none = looks_of(pixels), np.empty(0, np.int64)
    found = {one.code: one for one in inherited.findings(samples, looks, none, tmp_path)}
    held_out = {row for split in ("validation", "test") for row in samples.rows(split).tolist()}
    assert set(found["held-out-people-of-earlier-run"].rows) == {3, 4} & held_out != set()
    assert set(found["test-chose-earlier-run"].rows) == {3, 7} & set(samples.rows("test").tolist()) != set()
    assert all(one.leak and one.severity == "warning" for one in found.values())
    elsewhere = replace(samples, table=samples.table.assign(source="another"))
    assert "held-out-people-of-earlier-run" not in {
        one.code for one in inherited.findings(elsewhere, looks, none, tmp_path)
    }


def test_a_training_picture_dropped_here_is_no_excuse_for_an_earlier_run_that_kept_it(tmp_path: Path) -> None:
    pixels = pictures(40)
    pixels[3] = np.clip(pixels[0][:, ::-1].astype(int) + 20, 0, 255)
    samples, looks = samples_of(pixels, in_three_parts(40)), looks_of(pixels)
    run = earlier_run(tmp_path, pixels[samples.rows("train")])
    dropped = clean_train(samples, audit(samples, looks))
    assert dropped.tolist() == [0]
    assert not inherited.findings(samples, looks, dropped[:0], run)
    assert [(one.code, one.rows) for one in inherited.findings(samples, looks, dropped, run)] == [
        ("held-out-like-those-of-earlier-run", (3,))
    ]


def test_two_labels_of_near_twins_are_not_called_beyond_every_model() -> None:
    pixels = pictures(20)
    pixels[3], pixels[8] = pixels[0], pixels[5][:, ::-1]
    result = found(samples_of(pixels, label=["anger", "fear"] * 10))
    messages = {finding.code: finding.message for finding in result.findings}
    assert all("audit page" not in finding.advice for finding in result.findings), "a run has no such page"
    assert messages["exact-twins-conflicting-labels"].endswith("no model can be right on all")
    assert messages["near-twins-conflicting-labels"].endswith("one face, judged twice and not alike")
    assert messages["exact-twins"] == "1 redundant picture in 1 group of exact twins"


def test_cleaning_drops_training_rows_only_and_leaves_no_twin_behind() -> None:
    pixels = pictures(60)
    pixels[3], pixels[2], pixels[5] = pixels[0], pixels[1][:, ::-1], pixels[4]
    samples = samples_of(pixels, in_three_parts(60))
    dropped = clean_train(samples, found(samples))
    assert dropped.tolist() == [0, 1]
    kept = np.setdiff1d(np.arange(60), dropped)
    again = found(Samples(samples.take(kept).table, samples.labels, Rows(pixels[kept], "kept")))
    assert again.exact["twins_in_training"] == again.near["twins_in_training"] == {"validation": 0, "test": 0}


@pytest.mark.parametrize("column", ["subject", "sequence"])
def test_people_and_sequences_across_the_split_block_only_where_that_was_promised(column: str) -> None:
    names = [f"{column}{i // 4}" for i in range(24)]
    samples = samples_of(pictures(24), in_three_parts(24), **{column: names})
    code = f"{column}s-across-splits"
    assert codes(found(samples))[code] == "warning"
    promised = found(samples, promised=[column])
    assert codes(promised)[code] == "block"
    with pytest.raises(AuditBlocked, match=code):
        refuse(promised.blocking)
    assert promised.subjects_across_splits == (6 if column == "subject" else 0)
    whole = samples_of(pictures(24), ["train"] * 12 + ["test"] * 12, **{column: names})
    assert code not in codes(found(whole, promised=[column]))


def test_sequences_numbered_anew_for_each_subject_are_not_one_sequence() -> None:
    subjects, numbers = [f"S{i // 4}" for i in range(24)], [f"{i // 2 % 2}" for i in range(24)]
    apart = assign(
        samples_of(pictures(24), subject=subjects, sequence=numbers, label=["anger"] * 24),
        SplitSpec("grouped", (0.5, 0.25, 0.25), group="sequence"),
    )
    assert "sequences-across-splits" not in codes(found(apart, promised=["sequence"]))
    torn = apart.with_split(["train", "test"] * 12)
    assert codes(found(torn, promised=["sequence"]))["sequences-across-splits"] == "block"


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"smote": {"neighbours": 2}}, "smote-child-across-splits"),
        ("augment", "augmentation-child-across-splits"),
        ("oversample", "oversampling-child-across-splits"),
    ],
)
def test_children_made_before_the_split_are_caught_by_name(step: object, code: str, tmp_path: Path) -> None:
    pixels = pictures(48)
    samples = samples_of(pixels, label=["anger"] * 30 + ["fear"] * 12 + ["happiness"] * 6)
    material = readable(samples, prepare(samples, Chain.parse(["grey", {"resize": 48}]), tmp_path))
    wrong = resplit(balanced(material, parse([step]), 0, split=None), SplitSpec("stratified", (0.6, 0.2, 0.2)))
    caught = children(wrong.samples, wrong.parents)
    assert [finding.code for finding in caught] == [code]
    with pytest.raises(AuditBlocked, match=code):
        refuse(found(samples).found(caught).blocking)
    right = balanced(resplit(material, SplitSpec("stratified", (0.6, 0.2, 0.2))), parse([step]), 0)
    assert len(right.samples) > len(samples)
    assert children(right.samples, right.parents) == []


def test_blank_tiny_and_unreadable_pictures_are_told(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures(6)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((48, 48), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "tiny.png"), pictures(1, seed=9)[0][:12, :12])
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    names = [f"{i}.png" for i in range(6)] + ["blank.png", "tiny.png", "truncated.png"]
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{name},fear\n" for name in names))
    samples = catalog.load("manifest", tmp_path / "list.csv")
    result = audit(samples, look(samples, cache=tmp_path / "cache"))
    rows = {finding.code: finding.rows for finding in result.findings}
    assert (rows["blank"], rows["tiny"], rows["unreadable"]) == ((6,), (7,), (8,))
    assert result.blank == 1


def test_uneven_classes_and_a_shift_between_splits_are_told() -> None:
    label = ["anger"] * 300 + ["fear"] * 10 + ["anger"] * 60 + ["fear"] * 60
    split = ["train"] * 310 + ["test"] * 120
    result = found(samples_of(pictures(430, side=24), split, label=label))
    assert {"uneven-classes", "class-shift-test"} <= codes(result).keys()
    assert "class-shift-validation" not in codes(result)


def test_a_class_that_a_part_does_not_show_is_told() -> None:
    label = ["anger", "fear", "happiness"] * 10 + ["anger", "fear", "happiness"] * 3 + ["anger", "happiness"] * 3
    result = found(samples_of(pictures(45), ["train"] * 30 + ["validation"] * 9 + ["test"] * 6, label=label))
    (missing,) = [each for each in result.findings if each.code.startswith("class-missing")]
    assert (missing.code, missing.severity, missing.count) == ("class-missing-test", "warning", 1)
    assert missing.message.startswith("no test picture of fear: its macro figures are over 2 of ")


def test_wrong_labels_are_suspected_listed_and_the_method_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    means = pictures(3, seed=4).astype(float)
    truth = np.arange(240) % 3
    pixels = np.clip(means[truth] + rng.normal(0, 12, (240, 48, 48)), 0, 255).astype(np.uint8)
    wrong = set(rng.choice(240, 24, replace=False).tolist())
    given = [LABELS[(label + (row in wrong)) % 3] for row, label in enumerate(truth)]
    samples = samples_of(pixels, in_three_parts(240), label=given)
    order = [samples.labels.index(label) for label in LABELS]
    probabilities = np.zeros((240, len(samples.labels)))
    probabilities[:, order] = rng.dirichlet((1, 1, 1), 240) * 0.3 + np.eye(3)[truth] * 0.7
    for options, method in (
        ({"noise": True}, "logistic regression"),
        ({"probabilities": probabilities, "method": "predictions of run x"}, "predictions of run x"),
    ):
        result = found(samples, threshold=1.1, **options)
        (finding,) = [each for each in result.findings if each.code == "label-noise"]
        assert method in finding.message
        assert len(wrong & set(finding.rows)) >= 0.7 * len(wrong)
        assert len(wrong & set(finding.rows)) >= 0.9 * finding.count
        write_lists(tmp_path, samples, looks_of(pixels), result)
        listed = pd.read_csv(tmp_path / "suspect-labels.csv")
        rows = list(finding.rows)
        assert listed["path"].tolist() == samples.table["image"][rows].tolist()
        assert (listed["predicted"] == [LABELS[target] for target in truth[rows]]).mean() > 0.8
        assert (listed["predicted"] != listed["label"]).all() and listed["probability"].between(0.5, 1).all()
        page = write_audit_report(tmp_path / "audit.html", samples, looks_of(pixels), result, "suspects").read_text()
        assert f"predicted {listed['predicted'][0]}, probability {listed['probability'][0]:.2f}" in page


def test_labels_of_scarce_classes_are_told_as_unchecked() -> None:
    rng = np.random.default_rng(2)
    means = pictures(2, seed=4).astype(float)
    truth = np.arange(124) % 2
    pixels = np.clip(means[truth] + rng.normal(0, 12, (124, 48, 48)), 0, 255).astype(np.uint8)
    given = [LABELS[label] for label in truth[:120]] + [LABELS[2]] * 4
    given[0] = LABELS[1]
    result = found(samples_of(pixels, in_three_parts(124), label=given), threshold=1.1, noise=True)
    told = {each.code: each for each in result.findings if each.code.startswith("label-noise")}
    assert told["label-noise"].rows == (0,)
    assert LABELS[2] in told["label-noise-unchecked"].message and told["label-noise-unchecked"].count == 1
    with pytest.raises(DataError, match="two classes"):
        found(samples_of(pixels[:9], in_three_parts(9), label=given[:9]), threshold=1.1, noise=True)


def test_names_of_one_person_in_two_spellings_are_told() -> None:
    names = ["Anna", "ben", "anna ", "Ben", "Cem", "cem 2"] * 4
    told = {each.code: each for each in found(samples_of(pictures(24), in_three_parts(24), subject=names)).findings}
    assert told["subjects-named-alike"].count == 2 and "Anna, anna" in told["subjects-named-alike"].message


def test_twins_of_validation_and_test_are_told_where_training_has_none() -> None:
    pixels = pictures(40)
    pixels[2], pixels[6], pixels[7] = pixels[3], pixels[0], pixels[0]
    result = found(samples_of(pixels, in_three_parts(40)))
    told = {each.code: each for each in result.findings}
    assert told["exact-twins-validation-test"].rows == (2, 3)
    assert "exact-twins-validation-test" not in codes(found(samples_of(pixels, ["train", "test"] * 20)))


@pytest.mark.parametrize("people", [["a"] * 240, ["a"] * 232 + ["b"] * 8])
def test_too_few_people_to_cross_validate_are_told(people: list[str]) -> None:
    rng = np.random.default_rng(2)
    given = [LABELS[row < 120] for row in range(240)]
    samples = samples_of(
        rng.integers(0, 256, (240, 48, 48), np.uint8), in_three_parts(240), label=given, subject=people
    )
    with pytest.raises(DataError, match="cross-validation over people"):
        found(samples, threshold=1.1, noise=True)


def test_a_few_people_are_enough_to_cross_validate() -> None:
    rng = np.random.default_rng(2)
    given, people = [LABELS[row % 2] for row in range(240)], [f"S{row // 80}" for row in range(240)]
    samples = samples_of(
        rng.integers(0, 256, (240, 48, 48), np.uint8), in_three_parts(240), label=given, subject=people
    )
    found(samples, threshold=1.1, noise=True)


def test_pictures_of_any_size_and_colour_are_compared() -> None:
    small = pictures(30)
    large = [cv2.cvtColor(cv2.resize(one, (120, 90)), cv2.COLOR_GRAY2RGB) for one in small[:5]]
    pairs = near_pairs(looks_of([*small, *large]).miniatures)
    assert set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)) == {(i, 30 + i) for i in range(5)}


def test_one_picture_or_blank_pictures_alone_are_no_trouble() -> None:
    assert found(samples_of(pictures(1))).near["groups"] == 0
    blank = np.stack([np.full((48, 48), level, np.uint8) for level in (0, 1, 255, 255)])
    result = found(samples_of(blank))
    assert (result.near["groups"], result.exact["groups"], result.blank) == (0, 1, 4)


def test_the_page_shows_pairs_side_by_side_and_loads_nothing(tmp_path: Path) -> None:
    pixels = pictures(40)
    pixels[3], pixels[7] = pixels[0], pixels[5][:, ::-1]
    samples = samples_of(pixels, in_three_parts(40))
    page = write_audit_report(
        tmp_path / "audit.html", samples, looks_of(pixels), found(samples), "<b>odd</b>"
    ).read_text()
    assert "&lt;b&gt;odd" in page
    assert page.count("data:image/png;base64,") == 4
    assert "mirrored" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")


def fer2013_pixels(shared: Path) -> np.ndarray:
    """The pictures of FER2013 (35887, 48, 48) uint8, cut from the sheets they are kept on."""
    sheets = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(shared.glob("data/fer2013/sheet-*.png"))]
    tiles = [one.reshape(len(one) // 48, 48, 64, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48) for one in sheets]
    return np.concatenate(tiles)[:35887]


def test_every_exact_twin_of_fer2013_is_found_and_planted_near_twins_with_recall_and_precision(shared: Path) -> None:
    pixels = fer2013_pixels(shared)
    rows = pd.read_csv(shared / "data" / "fer2013" / "labels.csv")
    rows["hash"] = [hashlib.md5(picture.tobytes()).hexdigest() for picture in pixels]
    counted = rows.groupby("hash").agg(
        images=("hash", "size"), splits=("Usage", "nunique"), labels=("emotion", "nunique")
    )
    counted = counted[counted["images"] > 1]
    in_training = set(rows.loc[rows["Usage"] == "Training", "hash"])
    split = rows["Usage"].map({"Training": "train", "PublicTest": "validation", "PrivateTest": "test"})
    samples = samples_of(pixels, split.tolist(), label=[fer2013.CODES[code] for code in rows["emotion"]])
    looks = looks_of(pixels)
    # The near twins of all of FER2013 are the work of benchmarks/audit.py.
    likeness = liken(looks, threshold=1.1)
    assert figures(samples, likeness, "exact") == {
        "groups": len(counted),
        "images": counted["images"].sum(),
        "redundant": counted["images"].sum() - len(counted),
        "cross_split_groups": (counted["splits"] > 1).sum(),
        "label_conflicts": (counted["labels"] > 1).sum(),
        "twins_in_training": {
            name: rows.loc[split == name, "hash"].isin(in_training).sum() for name in ("validation", "test")
        },
    }

    originals = looks.miniatures[np.sort(likeness.first)][:3000]
    twin = near_pairs(originals, threshold=0.9)
    originals = np.delete(originals, twin.right, axis=0)
    rng = np.random.default_rng(11)
    chosen = rng.choice(len(originals), 600, replace=False)
    names = list(TRANSFORMATIONS)
    copies = [TRANSFORMATIONS[names[i % 6]](originals[row], rng) for i, row in enumerate(chosen)]
    pairs = near_pairs(looks_of([*originals, *copies]).miniatures)
    planted = {(row, len(originals) + i) for i, row in enumerate(chosen.tolist())}
    got = set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
    assert len(got & planted) >= 0.98 * len(planted)
    assert len(got & planted) >= 0.98 * len(got)


def test_near_twins_that_are_cropped_closely_are_found(shared: Path) -> None:
    rng = np.random.default_rng(5)
    originals = fer2013_pixels(shared)[:1500]
    originals = np.delete(originals, near_pairs(originals, threshold=0.88).right, axis=0)
    copies = [cropped_closely(original, rng) for original in originals[:100]]
    pairs = near_pairs(looks_of([*originals, *copies]).miniatures)
    planted = pairs.right - pairs.left == len(originals)
    assert planted.sum() >= 85, "of whole pictures alone, half are found"
    assert planted.mean() >= 0.95


def test_pictures_are_likened_once_under_any_split(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(8).integers(0, 256, (6, 24, 24), np.uint8)
    samples, looks, searched = samples_of(pixels, in_three_parts(6)), looks_of(pixels), []
    monkeypatch.setattr(
        twins, "near_pairs", lambda *words, **more: searched.append(words) or near_pairs(*words, **more)
    )
    audit(samples, looks)
    audit(samples.with_split(["train"] * 2 + ["validation"] * 2 + ["test"] * 2), looks_of(pixels))
    assert len(searched) == 1
    audit(samples.take(range(5)), looks.take(np.arange(5)))
    audit(samples, looks, threshold=0.9)
    assert len(searched) == 3
