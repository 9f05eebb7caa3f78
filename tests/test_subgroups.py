"""Figures in groups: laws, the test between groups, and lists that say who is in which."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mien.data.traits import of_pictures, read
from mien.errors import DataError
from mien.evaluation.comparison import probabilities_of
from mien.evaluation.metrics import evaluate
from mien.evaluation.pairs import paired_p
from mien.evaluation.randomisation import exchanged_p
from mien.evaluation.subgroups import CAUTION, IN_PAIRS, MOST, subgroups

LABELS = ("anger", "fear", "happiness")


def answers(people: int = 12, pictures: int = 8, seed: int = 0, named: bool = True) -> pd.DataFrame:
    rng, rows = np.random.default_rng(seed), people * pictures
    p = rng.dirichlet(np.ones(len(LABELS)), rows).astype(np.float32)
    truth = np.where(rng.random(rows) < 0.5, p.argmax(axis=1), rng.integers(0, len(LABELS), rows))
    return pd.DataFrame(
        {
            "image": [f"faces/{i}.png" for i in range(rows)],
            "subject": [f"P{i // pictures}" if named else None for i in range(rows)],
            "sequence": None,
            "label": [LABELS[i] for i in truth],
            "predicted": [LABELS[i] for i in p.argmax(axis=1)],
        }
    ).assign(**{f"p_{label}": p[:, i] for i, label in enumerate(LABELS)})


def column(values: object, name: str = "sex") -> pd.DataFrame:
    return pd.DataFrame({name: pd.array(list(values), dtype="string")})  # type: ignore[call-overload]


def by_person(table: pd.DataFrame) -> pd.DataFrame:
    return column("female" if int(name[1:]) % 3 else "male" for name in table["subject"])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_grouping_of_one_value_is_the_whole(seed: int, named: bool) -> None:
    table = answers(6, 5, seed, named)
    (grouping,) = subgroups(table, column(["all"] * len(table)), resamples=50).columns
    people = table["subject"].tolist() if named else None
    targets = [LABELS.index(label) for label in table["label"]]
    whole = evaluate(probabilities_of(table), targets, LABELS, 50, groups=people)["metrics"]
    (group,) = grouping.groups
    assert (group.accuracy, group.balanced_accuracy) == (whole["accuracy"], whole["balanced_accuracy"])
    assert (group.pictures, group.units, grouping.gaps) == (30, 6 if named else 30, ())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.permutations(range(40)))
def test_the_order_of_the_pictures_changes_no_figure_and_no_p(seed: int, order: list[int]) -> None:
    table = answers(8, 5, seed)
    values = column(np.random.default_rng(seed).choice(["left", "right", "frontal"], len(table)))
    before, after = (
        subgroups(table.iloc[rows].reset_index(drop=True), values.iloc[rows].reset_index(drop=True), 20).columns[0]
        for rows in (list(range(40)), order)
    )
    for one, other in zip(before.groups, after.groups, strict=True):
        assert (one.name, one.pictures, one.units, one.classes) == (
            other.name,
            other.pictures,
            other.units,
            other.classes,
        )
        assert one.accuracy["value"] == pytest.approx(other.accuracy["value"])
    for gap, again in zip(before.gaps, after.gaps, strict=True):
        assert (gap.group, gap.against, gap.p, gap.adjusted) == (again.group, again.against, again.p, again.adjusted)
        assert gap.accuracy.value == pytest.approx(again.accuracy.value)
        assert gap.balanced_accuracy.value == pytest.approx(again.balanced_accuracy.value)


def test_gaps_are_differences_of_the_groups_and_corrected_over_the_column() -> None:
    table = answers(30, 6)
    values = column(["a", "b", "c"][int(name[1:]) % 3] for name in table["subject"])
    (grouping,) = subgroups(table, values).columns
    accuracy = {group.name: group.accuracy["value"] or 0 for group in grouping.groups}
    assert [(gap.group, gap.against) for gap in grouping.gaps] == [("a", "b"), ("a", "c"), ("b", "c")]
    for gap in grouping.gaps:
        assert gap.accuracy.value == pytest.approx(accuracy[gap.group] - accuracy[str(gap.against)])
        assert gap.accuracy.low < gap.accuracy.value < gap.accuracy.high and gap.p <= gap.adjusted <= 1


def test_more_groups_are_compared_with_the_rest_and_told_in_natural_order() -> None:
    table = answers(14, 6)
    ages = column([f"{10 * (int(name[1:]) % 7)}+" for name in table["subject"]], "age")
    (grouping,) = subgroups(table, ages, 50).columns
    assert [group.name for group in grouping.groups] == ["0+", "10+", "20+", "30+", "40+", "50+", "60+"]
    assert len(grouping.groups) > IN_PAIRS
    assert [(gap.group, gap.against) for gap in grouping.gaps] == [(group.name, None) for group in grouping.groups]
    right = (table["label"] == table["predicted"]).groupby(ages["age"] == "10+").mean()
    assert grouping.gaps[1].accuracy.value == pytest.approx(right[True] - right[False])


def test_what_all_people_share_cancels_out_between_groups_of_the_same_people() -> None:
    """People differ much, poses little: paired by person the gap is beyond doubt, between other people it is not."""
    shares, worse = np.linspace(0.2, 0.9, 12), [1, 2, 3] * 4
    right = np.concatenate(
        [
            [i < 20 * share - less for i in range(20)]
            for share, loss in zip(shares, worse, strict=True)
            for less in (0, loss)
        ]
    )
    label = np.array(["anger", "fear"])[np.arange(len(right)) % 2]
    table = pd.DataFrame({"image": map(str, range(len(right))), "label": label, "sequence": None})
    table["predicted"] = np.where(right, label, "happiness")
    table = table.assign(**{f"p_{name}": (table["predicted"] == name).astype(np.float32) for name in LABELS})
    pose = column(np.tile(np.repeat(["frontal", "profile"], 20), 12), "pose")
    same, others = (np.repeat([f"P{i}" for i in range(count)], 480 // count) for count in (12, 24))
    (paired,), (apart,) = (subgroups(table.assign(subject=who), pose).columns[0].gaps for who in (same, others))
    assert paired.accuracy.value == apart.accuracy.value > 0
    assert paired.p < 0.01 < 0.1 < apart.p and paired.accuracy.low > 0 > apart.accuracy.low


def test_the_same_mistakes_on_another_mix_of_classes_are_no_gap_of_balanced_accuracy() -> None:
    hard = np.r_[np.ones(80), np.zeros(20), np.ones(20), np.zeros(80)].astype(bool)
    right = np.where(hard, np.arange(200) % 2 == 0, True)
    table = pd.DataFrame({"image": map(str, range(200)), "subject": None, "sequence": None})
    table["label"] = np.where(hard, "fear", "anger")
    table["predicted"] = np.where(right, table["label"], "happiness")
    table = table.assign(**{f"p_{name}": (table["predicted"] == name).astype(np.float32) for name in LABELS})
    found = subgroups(table, column(["clinic"] * 100 + ["street"] * 100, "site"))
    (gap,) = found.columns[0].gaps
    assert gap.accuracy.value == pytest.approx(-0.3) and gap.p < 0.001 and gap.classes == 2
    assert gap.balanced_accuracy.value == pytest.approx(0) and CAUTION in found.notes


def test_few_people_missing_values_and_classes_are_told() -> None:
    table = answers(12, 8)
    values = by_person(table)
    values.iloc[:5] = pd.NA
    found = subgroups(table, values, 50)
    told = " ".join(found.columns[0].notes)
    assert "male (27 pictures of 4 people)" in told and "5 of 96 pictures have no value" in told
    assert "below 6 people" in told and found.columns[0].unnamed == 5
    fearless = column("x" if label == "fear" else "y" for label in table["label"])
    (gap,) = subgroups(table, fearless, 50).columns[0].gaps
    assert gap.classes == 0 and gap.as_dict()["balanced_accuracy"]["value"] is None
    assert "fewer of the 3 classes in x (1)" in " ".join(subgroups(table, fearless, 50).columns[0].notes)
    json.dumps(found.as_dict(), allow_nan=False)
    assert not set(table["subject"]) & set(json.dumps(found.as_dict()).split('"'))


def test_columns_of_many_values_are_told_and_left_out() -> None:
    table = answers()
    heights = column((str(150 + i % (MOST + 1)) for i in range(len(table))), "height")
    found = subgroups(table, pd.concat([heights, by_person(table)], axis=1), 50)
    assert [each.column for each in found.columns] == ["sex"] and "height: 13 different values" in found.notes[0]
    with pytest.raises(DataError, match="no column makes groups"):
        subgroups(table, heights, 50)


@given(st.integers(1, 30), st.data())
@settings(max_examples=15, deadline=None)
def test_of_single_pictures_the_test_between_groups_is_the_exact_one(size: int, data: st.DataObject) -> None:
    counts = [data.draw(st.integers(0, size)) for _ in "ab"]
    rows = np.array([[place < count, 1] for count in counts for place in range(size)], float)
    first = np.arange(2 * size)[:, None] < size
    ours = exchanged_p(rows * first, rows * ~first)
    exact = stats.fisher_exact([[count, size - count] for count in counts]).pvalue
    assert ours == pytest.approx(exact, abs=0.03)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_of_a_picture_a_person_and_group_the_test_is_that_of_paired_arms(right: list[tuple[bool, bool]]) -> None:
    a, b = np.array(right).T
    one = np.ones(len(a))
    assert exchanged_p(np.stack([a, one], 1), np.stack([b, one], 1)) == pytest.approx(paired_p(a, b), abs=0.03)


def test_people_in_neither_group_move_no_p() -> None:
    a, b, strangers = np.array([[9, 10], [8, 10]]), np.array([[2, 10], [1, 10]]), np.zeros((50, 2))
    nobody = np.zeros((2, 2))
    alone = exchanged_p(np.concatenate([a, nobody]), np.concatenate([nobody, b]))
    among = exchanged_p(np.concatenate([a, nobody, strangers]), np.concatenate([nobody, b, strangers]))
    assert alone == pytest.approx(among, abs=0.02) and alone > 0.2


def test_a_test_needs_answers_in_both_groups() -> None:
    with pytest.raises(ValueError, match="no answers"):
        exchanged_p([[1, 2]], [[0, 0]])


def test_a_list_is_matched_by_picture_or_by_person_whatever_its_order(tmp_path: Path) -> None:
    table = answers(4, 3)
    (tmp_path / "people.csv").write_text("sep=;\nParticipant;Sex;Age\nP2;male;8\nP0;female;\nP1;female;30\nP9;male;9\n")
    (tmp_path / "list.csv").write_text("﻿path,label,pose\nfaces\\1.png,fear,left\n./faces/0.png,fear,right\n")
    found = of_pictures([read(tmp_path / "people.csv"), read(tmp_path / "list.csv")], table)
    assert list(found) == ["sex", "age", "pose"] and len(found) == len(table)
    assert found["sex"].iloc[[0, 3, 6]].tolist() == ["female", "female", "male"] and found["sex"].iloc[9:].isna().all()
    assert found["pose"].iloc[:2].tolist() == ["right", "left"] and found["age"].iloc[:3].isna().all()
    pd.read_csv(tmp_path / "people.csv", sep=";", skiprows=1).to_parquet(tmp_path / "people.parquet")
    assert of_pictures([read(tmp_path / "people.parquet")], table)["sex"].equals(found["sex"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sex,age\nmale,8\n", "names neither pictures nor people"),
        ("path,label,split\na.png,fear,test\n", "nothing to compare by"),
        ("subject,sex\nP0,male\nP0,female\n", "says two things of one subject"),
        ("subject,sex\nP0,male\n,female\n", "rows without subject"),
        ("subject,sex,Sex\nP0,male,male\n", "has a column twice"),
        ("path,sex\nelsewhere/0.png,male\n", "names none of the 12 pictures"),
        ("", "not a readable list"),
    ],
)
def test_a_list_that_says_nothing_of_the_pictures_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        of_pictures([read(tmp_path / "list.csv")], answers(4, 3))


def test_people_cannot_be_found_where_nobody_is_named_and_a_column_stands_in_one_list(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("subject,sex\nP0,male\nP0,male\n")
    with pytest.raises(DataError, match="name nobody"):
        of_pictures([read(tmp_path / "people.csv")], answers(named=False))
    with pytest.raises(DataError, match="two lists have the same column"):
        of_pictures([read(tmp_path / "people.csv")] * 2, answers())
