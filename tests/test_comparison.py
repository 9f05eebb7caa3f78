"""Arms over the same rows: alignment, counts, and the pictures that changed sides."""

import json

import numpy as np
import pandas as pd
import pytest

from mien.errors import DataError
from mien.evaluation.comparison import compare, evenly, pooled, rank
from mien.evaluation.pairs import mcnemar, sign_flips

LABELS = ("fear", "neutral")


def arm(true: str, sure: list[float]) -> pd.DataFrame:
    """Predictions for pictures a, b, c, ...: `true` holds f or n for each, `sure` the probability of fear."""
    fear = np.array(sure, np.float32)
    return pd.DataFrame(
        {
            "image": [chr(97 + i) for i in range(len(sure))],
            "label": [LABELS[letter == "n"] for letter in true],
            "predicted": [LABELS[int(p < 0.5)] for p in fear],
            "p_fear": fear,
            "p_neutral": 1 - fear,
        }
    )


WITHOUT = arm("ffffnn", [0.9, 0.1, 0.4, 0.8, 0.2, 0.7])
WITH = arm("ffffnn", [0.9, 0.7, 0.9, 0.3, 0.1, 0.6])


def test_gained_and_lost_pictures_carry_the_probabilities_of_both_arms_largest_change_first() -> None:
    found = compare(WITHOUT, WITH)
    assert found.gained["image"].tolist() == ["b", "c"]
    assert found.lost["image"].tolist() == ["d"]
    first = found.gained.iloc[0]
    assert (first["predicted_a"], first["predicted_b"]) == ("neutral", "fear")
    assert [first[f"p_{which}_{side}"] for side in "ab" for which in ("predicted", "label")] == pytest.approx(
        [0.9, 0.1, 0.7, 0.7]
    )
    assert (found.both_right, found.both_wrong) == (2, 1)
    assert found.p == pytest.approx(mcnemar(1, 2))
    assert found.difference.value == pytest.approx(1 / 6)


def test_class_changes_add_up_to_the_whole() -> None:
    found = compare(WITHOUT, WITH)
    assert [(each.label, each.support) for each in found.classes] == [("fear", 4), ("neutral", 2)]
    total = sum(each.support * each.difference.value for each in found.classes)
    assert total == pytest.approx(found.rows * found.difference.value)


def test_a_picture_that_is_listed_under_two_labels_is_paired_row_by_row() -> None:
    a, b = (arm.assign(image=["a", "a", "b", "c", "c", "d"]) for arm in (arm("fnffnn", [0.9] * 6), WITH))
    b = b.assign(label=a["label"])
    assert compare(a, b.iloc[[1, 0, 5, 3, 4, 2]]).p == compare(a, b).p
    with pytest.raises(DataError, match="different true labels"):
        compare(a, b.assign(label=["neutral", *a["label"][1:]]))


def test_two_layouts_of_a_dataset_are_paired_by_pixels() -> None:
    pixels = ["01", "02", "02", "03", "04", "05"]
    a = WITHOUT.assign(digest=pixels)
    b = WITH.assign(digest=pixels, image=[f"folder/{name}.png" for name in "uvwxyz"])
    assert compare(a, b.iloc[::-1]).p == compare(WITHOUT, WITH).p
    assert compare(a, b).gained["image"].tolist() == ["b", "c"]
    for other in (b.assign(digest=[*pixels[:5], "06"]), b.assign(label=b["label"].iloc[::-1].to_numpy())):
        with pytest.raises(DataError, match="the same test pictures"):
            compare(a, other)


def test_the_order_of_the_rows_does_not_matter_and_swapping_the_arms_swaps_the_lists() -> None:
    straight, shuffled = compare(WITHOUT, WITH), compare(WITHOUT, WITH.iloc[::-1])
    assert straight.as_dict() == shuffled.as_dict()
    swapped = compare(WITH, WITHOUT)
    assert sorted(swapped.lost["image"]) == sorted(straight.gained["image"])
    assert swapped.difference.value == pytest.approx(-straight.difference.value)


def test_a_comparison_and_a_ranking_are_json() -> None:
    wider = WITH.drop(columns="p_fear")
    document = json.loads(json.dumps(compare(WITHOUT, wider).as_dict(), allow_nan=False))
    assert document["gained"][0]["p_label_b"] is None
    ranking = json.loads(json.dumps(rank({"without": WITHOUT, "with": WITH}).as_dict(), allow_nan=False))
    assert ranking["pairs"][0]["a"] == "without"
    assert ranking["best"] is None


def test_people_are_drawn_whole_in_tests_and_intervals() -> None:
    worse, better = arm("f" * 12, [0.1] * 12), arm("f" * 12, [0.9] * 12)
    people = ["she"] * 6 + ["he"] * 6
    alone = compare(worse, better)
    together = compare(worse.assign(subject=people), better.assign(subject=people))
    assert (alone.p, together.p) == (pytest.approx(2 / 2**12), 0.5)
    assert (alone.test, together.test) == ("exact McNemar test", "exact sign-flip test over 2 groups of answers")
    assert rank({"a": worse, "b": better}).best == "b"
    assert rank({"a": worse.assign(subject=people), "b": better.assign(subject=people)}).best is None


def test_made_pictures_are_drawn_with_the_one_they_come_from() -> None:
    worse, better = arm("f" * 12, [0.1] * 12), arm("f" * 12, [0.9] * 12)
    parents = [None, *["a"] * 11]
    together = compare(worse.assign(parent=parents), better.assign(parent=parents))
    assert (together.p, together.test) == (1.0, "exact sign-flip test over 1 groups of answers")
    assert np.isnan(together.difference.low)


def test_of_several_arms_each_p_is_that_of_the_corrected_test() -> None:
    arms = {"a": arm("f" * 7, [0.1] * 7), "b": arm("f" * 7, [0.9] * 7), "c": arm("f" * 7, [0.1] * 7)}
    ranking = rank(arms)
    test, difference, macro_f1 = ranking.between("a", "b")
    assert test.adjusted == pytest.approx(3 * 2 / 2**7) and test.verdict == "second"
    assert compare(arms["a"], arms["b"]).p == pytest.approx(2 / 2**7)
    assert macro_f1 is not None
    assert (difference.value, macro_f1.difference.value) == pytest.approx((1, 1))
    assert macro_f1.p == pytest.approx(2 / 2**7), "all answers exchanged, or none"


def test_people_that_one_arm_alone_names_are_people_in_every_order() -> None:
    worse, better = arm("f" * 12, [0.1] * 12), arm("f" * 12, [0.9] * 12)
    named, others = worse.assign(subject=["p"] * 6 + ["q"] * 6), better.assign(subject=["x"] * 3 + [None] * 9)
    assert compare(named, better).p == compare(better, named).p == 0.5
    assert rank({"a": named, "b": better}).pairs[0].p == rank({"b": better, "a": named}).pairs[0].p == 0.5
    # Those of one person in either arm stand together: here x is among the pictures of p.
    assert compare(named, others).p == compare(others, named).p == 0.5


def test_too_few_people_for_any_difference_are_not_called_alike() -> None:
    worse, better = arm("f" * 10, [0.1] * 10), arm("f" * 10, [0.9] * 10)
    people = [name for name in "abcde" for _ in range(2)]
    (five,) = rank({"a": worse.assign(subject=people), "b": better.assign(subject=people)}).pairs
    assert (five.verdict, five.least) == ("untold", pytest.approx(five.p))
    (ten,) = rank({"a": worse, "b": better}).pairs
    assert (ten.verdict, ten.least) == ("second", 2 / 2**10)


def test_seeds_are_pooled_over_pictures_and_folds_one_after_another() -> None:
    seeds = pooled([WITHOUT, WITHOUT])
    assert seeds["image"].is_unique
    assert seeds["picture"].tolist() == WITHOUT["image"].tolist() * 2
    assert compare(seeds, pooled([WITH, WITH])).p == compare(WITHOUT, WITH).p
    folds = pooled([WITHOUT.iloc[:3], WITHOUT.iloc[3:]])
    assert folds["image"].tolist() == WITHOUT["image"].tolist()
    assert compare(folds, WITH).test == "exact McNemar test"


def test_three_seeds_are_tested_against_one_run_by_their_mean_answer_to_each_picture() -> None:
    once = compare(WITHOUT, WITH)
    arms = evenly({"seeds": [WITHOUT, WITHOUT, WITH], "run": [WITH]})
    found = compare(*arms.values())
    # Of pictures b, c (gained) and d (lost), two of the three answers change; the other pictures are answered alike.
    assert found.p == pytest.approx(sign_flips([2, 2, -2])) == pytest.approx(once.p)
    assert found.difference.value == pytest.approx(once.difference.value * 2 / 3)
    assert [(each.label, each.support) for each in found.classes] == [("fear", 4), ("neutral", 2)]
    assert found.gained["image"].tolist() == ["b", "b", "c", "c"]
    assert rank(arms).test == "exact sign-flip test over 6 groups of answers"
    assert compare(*evenly({"two": [WITHOUT] * 2, "three": [WITH] * 3}).values()).p == once.p
    assert evenly({"a": [WITHOUT], "b": [WITH]})["b"] is WITH


def test_of_several_answers_people_are_drawn_whole_and_pictures_of_nobody_by_themselves() -> None:
    people = WITHOUT.assign(subject=["she", "she", None, None, None, None])
    assert rank({"a": pooled([people] * 3), "b": pooled([WITH] * 3)}).test.startswith(
        "exact sign-flip test over 5 groups"
    )


def test_arms_over_other_pictures_or_other_truths_are_refused() -> None:
    with pytest.raises(DataError, match="5 shared") as caught:
        compare(WITHOUT, WITH.iloc[:5])
    assert "mien evaluate" not in str(caught.value), "which keeps no predictions"
    with pytest.raises(DataError, match="different true labels"):
        compare(WITHOUT, WITH.assign(label="fear"))
