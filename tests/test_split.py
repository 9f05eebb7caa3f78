"""Splits: laws over random datasets, protocols people rely on, and what cannot be split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.samples import Rows, Samples, table
from mien.data.split import SplitSpec, assign, clusters, notes, unlearnable
from mien.data.subset import without_official_test
from mien.errors import DataError, UsageError

LABELS = ("anger", "fear", "happiness")
METHODS = ("stratified", "grouped", "kfold", "grouped-kfold")


def dataset(targets, subjects=None, split=None, sequences=None):
    rows = table(
        [f"faces#{i}" for i in range(len(targets))],
        [LABELS[t] if t >= 0 else None for t in targets],
        source="test",
        subject=subjects,
        sequence=sequences,
        split=split,
    )
    return Samples(rows, LABELS, Rows(np.zeros((len(targets), 4, 4), np.uint8), "test"))


@st.composite
def datasets(draw):
    count = draw(st.integers(60, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    targets = np.concatenate([np.repeat([0, 1, 2], 10), rng.choice(3, count - 30, p=[0.7, 0.2, 0.1])])
    return dataset(rng.permutation(targets), [f"S{s}" for s in np.arange(count) % draw(st.integers(12, 30))])


def counts(samples):
    return [len(samples.rows(split)) for split in ("train", "validation", "test")]


def test_rows_are_drawn_by_subject_even_where_some_row_names_none():
    assert clusters(dataset([0, 1, 2]).table) is None
    assert clusters(dataset([0, 1, 2], ["a", "a", None]).table) == ["a", "a", None]


def test_made_rows_are_drawn_with_the_row_they_were_made_of():
    made = dataset([0, 1, 0]).table
    made["parent"] = made["parent"].where([True, True, False], 0)
    assert clusters(made) == ["0", "1", "0"]
    assert clusters(made.iloc[1:]) == ["1", "0"]


@settings(max_examples=20, deadline=None)
@given(samples=datasets(), folds=st.integers(3, 7))
def test_folds_have_as_many_rows_of_each_class_and_in_all(samples, folds):
    tests = [assign(samples, SplitSpec("kfold", folds=folds, fold=fold)).rows("test") for fold in range(folds)]
    assert sorted(np.concatenate(tests)) == list(range(len(samples)))
    for target in (0, 1, 2, None):
        sizes = [len(rows) if target is None else (samples.targets[rows] == target).sum() for rows in tests]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("method", ["stratified", "kfold"])
@settings(max_examples=20, deadline=None)
@given(samples=datasets(), lost=st.integers(0, 59))
def test_a_row_that_goes_moves_few_others(method, samples, lost):
    spec = SplitSpec(method, folds=4)
    kept = np.delete(np.arange(len(samples)), lost)
    before, after = assign(samples, spec).table["split"].iloc[kept], assign(samples.take(kept), spec).table["split"]
    assert (before.to_numpy() != after.to_numpy()).sum() <= 3 * 4


def test_the_number_of_folds_that_is_advised_can_be_had():
    for count in (2, 3, 4, 9):
        samples = dataset([0] * 40 + [1] * count)
        with pytest.raises(DataError) as caught:
            assign(samples, SplitSpec("kfold", folds=10 if count > 3 else 2))
        if (advised := (caught.value.then or "").partition(",")[0]).startswith("set split.folds"):
            assign(samples, SplitSpec("kfold", folds=int(advised.split()[-1])))
        else:
            assert count == 2


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=20, deadline=None)
@given(samples=datasets(), seed=st.integers(0, 5))
def test_every_row_has_one_place_whatever_the_order_of_the_rows(method, samples, seed):
    spec = SplitSpec(method, folds=4, fold=1, seed=seed)
    split = assign(samples, spec).table["split"]
    assert split.notna().all()
    assert set(split) == {"train", "validation", "test"}
    shuffled = np.random.default_rng(seed).permutation(len(samples))
    again = assign(samples.take(shuffled), spec).table["split"]
    assert again.tolist() == split.iloc[shuffled].tolist()


@settings(max_examples=30, deadline=None)
@given(samples=datasets(), share=st.floats(0.1, 0.3))
def test_stratified_meets_the_fractions_in_every_class(samples, share):
    split = assign(samples, SplitSpec("stratified", (1 - 2 * share, share, share)))
    for target in range(len(LABELS)):
        members = (samples.targets == target).sum()
        for name in ("validation", "test"):
            assert abs((split.targets[split.rows(name)] == target).sum() - members * share) <= 1


@pytest.mark.parametrize("method", ["grouped", "grouped-kfold"])
@settings(max_examples=20, deadline=None)
@given(samples=datasets(), seed=st.integers(0, 5))
def test_no_subject_is_on_two_sides(method, samples, seed):
    split = assign(samples, SplitSpec(method, folds=4, seed=seed)).table
    assert (split.groupby("subject")["split"].nunique() == 1).all()


def test_grouped_split_keeps_sizes_and_classes_near_the_fractions():
    rng = np.random.default_rng(0)
    subjects = rng.integers(0, 100, 4000)
    samples = dataset(rng.choice(3, 4000, p=[0.6, 0.3, 0.1]), [f"S{s}" for s in subjects])
    split = assign(samples, SplitSpec("grouped", (0.7, 0.1, 0.2)))
    assert np.allclose(counts(split), [2800, 400, 800], atol=60)
    for name in ("train", "validation", "test"):
        shares = np.bincount(split.targets[split.rows(name)], minlength=3) / len(split.rows(name))
        assert np.allclose(shares, [0.6, 0.3, 0.1], atol=0.03)


@pytest.mark.parametrize("method", ["kfold", "grouped-kfold"])
def test_each_row_is_tested_in_exactly_one_fold(method):
    samples = dataset(np.arange(90) % 3, [f"S{i // 6}" for i in range(90)])
    tested = [assign(samples, SplitSpec(method, folds=5, fold=fold)).rows("test") for fold in range(5)]
    assert sorted(np.concatenate(tested)) == list(range(90))
    assert {len(rows) for rows in tested} == {18}


def test_sequences_are_told_apart_by_subject():
    samples = dataset(
        [0, 1, 2] * 20, [f"S{i // 12}" for i in range(60)], sequences=[f"00{i // 3 % 4}" for i in range(60)]
    )
    split = assign(samples, SplitSpec("grouped", (0.5, 0.25, 0.25), group="sequence")).table
    assert (split.groupby(["subject", "sequence"])["split"].nunique() == 1).all()
    assert (split.groupby("sequence")["split"].nunique() > 1).any()


def test_seeds_and_folds_differ_and_a_seed_is_the_same_on_every_machine():
    samples = dataset(np.arange(60) % 3)
    tested = [tuple(assign(samples, SplitSpec("stratified", seed=seed)).rows("test")) for seed in range(5)]
    assert len(set(tested)) == 5
    assert tested[0] == (3, 38, 51, 52, 55, 59)


def test_rows_without_a_label_are_in_no_split():
    samples = dataset([0, 1, 2] * 10 + [-1] * 4)
    for method in ("stratified", "kfold"):
        assert assign(samples, SplitSpec(method, folds=3)).table["split"].isna().tolist() == [False] * 30 + [True] * 4
        assert notes(samples, SplitSpec(method, folds=3)) == ("4 rows without a label left out",)
    parts = ["train"] * 15 + ["validation"] * 3 + ["test"] * 12
    assert notes(samples.with_split([*parts, *[None] * 4]), SplitSpec()) == ("4 rows without a label left out",)


def test_official_split_is_kept_as_it_is():
    official = ["train"] * 24 + ["validation"] * 3 + ["test"] * 3
    samples = dataset([0, 1, 2] * 10, split=official)
    assert assign(samples, SplitSpec()).table["split"].tolist() == official
    assert notes(samples, SplitSpec()) == ()
    (said,) = notes(samples, SplitSpec(seed=3))
    assert "all three parts: split.seed changed nothing" in said


def test_missing_validation_is_carved_out_of_train_and_said():
    official = ["train"] * 240 + ["test"] * 60
    samples = dataset([0, 1, 2] * 100, split=official)
    spec = SplitSpec(fractions=(0.75, 0.25, 0))
    split = assign(samples, spec)
    assert counts(split) == [180, 60, 60]
    assert split.rows("test").tolist() == list(range(240, 300))
    assert np.bincount(split.targets[split.rows("validation")]).tolist() == [20, 20, 20]
    assert "no validation part: 25% of the official training rows" in notes(samples, spec)[0]


def test_rows_in_no_part_and_classes_in_no_training_row_are_said():
    samples = dataset([0, 1, 2] * 30, split=["train"] * 45 + ["validation"] * 20 + ["test"] * 15 + [None] * 10)
    assert "10 rows" in notes(samples, SplitSpec())[0]
    assert unlearnable(assign(samples, SplitSpec())) == ()
    lost = dataset([0, 1] * 10 + [0, 1] * 5 + [0, 2, 2], split=["train"] * 20 + ["validation"] * 10 + ["test"] * 3)
    said, *more = unlearnable(lost)
    assert "happiness" in said and "the 2 test rows" in said
    assert more == [
        "no validation picture of happiness: its macro figures are over 2 of 3 classes",
        "no test picture of fear: its macro figures are over 2 of 3 classes",
    ]
    (said,) = unlearnable(dataset([0, 1] * 10, split=["train", "train", "test", "test"] * 5))
    assert said.startswith("no row shows happiness: raise data.limit") and "data.classes" in said


def test_carved_validation_keeps_subjects_whole_where_they_are_named():
    samples = dataset([0, 1, 2] * 40, [f"S{i // 6}" for i in range(120)], ["train"] * 90 + ["test"] * 30)
    assert (assign(samples, SplitSpec()).table.groupby("subject")["split"].nunique() == 1).all()
    takes = [f"take {i // 6}" for i in range(120)]
    nameless = dataset([0, 1, 2] * 40, None, ["train"] * 90 + ["test"] * 30, sequences=takes)
    assert (assign(nameless, SplitSpec()).table.groupby("sequence")["split"].nunique() == 1).all()


def test_a_part_that_is_held_out_was_published_all_the_same():
    samples = dataset([0, 1, 2] * 100, split=["train"] * 200 + ["validation"] * 40 + ["test"] * 60)
    (said,) = notes(without_official_test(samples), SplitSpec())
    assert "no official test part is among the rows" in said and "publish" not in said


def test_two_part_dataset_is_tested_on_its_second_part_whatever_its_name():
    samples = dataset([0, 1, 2] * 100, split=["train"] * 240 + ["validation"] * 60)
    split = assign(samples, SplitSpec())
    assert split.rows("test").tolist() == list(range(240, 300))
    assert len(split.rows("validation")) == 27
    assert "the validation part is the test here" in notes(samples, SplitSpec())[0]


@pytest.mark.parametrize(
    ("samples", "spec", "message"),
    [
        (dataset([0, 1, 2] * 10), SplitSpec(), "no official split"),
        (dataset([0, 1, 2] * 2, split=["test"] * 6), SplitSpec(), "no train part"),
        (dataset([0, 1, 2] * 2, split=["train"] * 6), SplitSpec(), r"(?s)no test part.*data\.limit"),
        (dataset([0] * 20 + [1] * 4), SplitSpec("kfold", folds=5), r"(?s)5 folds need .*4 of fear.*data\.classes"),
        (dataset([0] * 20 + [1] * 2), SplitSpec("stratified"), r"(?s)at least 3 images .*2 of fear.*data\.limit"),
        (dataset([0, 1, 2] * 9), SplitSpec("grouped"), "27 of 27 images name none"),
        (dataset([0, 1, 2] * 9, ["A", "B", "B"] * 9), SplitSpec("grouped"), "(?s)3 parts needs as many groups.*A, B"),
        (dataset([0, 1] * 9, ["A", "B"] * 9), SplitSpec("grouped-kfold", folds=3), "3 parts needs as many groups"),
    ],
)
def test_impossible_splits_say_why(samples, spec, message):
    with pytest.raises(DataError, match=message):
        assign(samples, spec)


def test_rows_without_a_subject_are_named_and_the_leak_is_the_last_way_out():
    samples = dataset([0, 1, 2] * 9, ["A", None, "B"] * 8 + ["C", "D", "E"])
    with pytest.raises(DataError) as caught:
        assign(samples, SplitSpec("grouped"))
    said = str(caught.value)
    assert "8 of 27 images name none, the first: faces#1, faces#4, faces#7" in said
    assert said.index("columns") < said.index("pattern") < said.index("stratified") < said.index("the same faces train")


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "grouppd"},
        {"group": "camera"},
        {"fractions": (0.8, 0.1, 0.2)},
        {"fractions": (0.0, 0.5, 0.5)},
        {"fractions": (float("nan"),) * 3},
        {"folds": 1},
        {"folds": 5, "fold": 5},
    ],
)
def test_senseless_specs_are_refused_on_construction(wrong):
    with pytest.raises(UsageError):
        SplitSpec(**wrong)
