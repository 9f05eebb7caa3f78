"""Balancing: counts, parents, exactness against imbalanced-learn, and what cannot be balanced."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn import over_sampling

from mien.data.balance import balance, class_weights, idle, parse
from mien.data.pictures import Stacked
from mien.errors import DataError, UsageError

LABELS = ("anger", "disgust", "fear")
MAKERS = ["oversample", "augment", "smote", "borderline-smote", "adasyn"]


def faces(counts, side=6, seed=0):
    """Noisy pictures around a pattern for each class, near enough that the classes touch; rows in random order."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(90, 160, (len(counts), side, side))
    targets = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    noise = rng.normal(0, 40, (len(targets), side, side))
    return np.clip(patterns[targets] + noise, 0, 255).astype(np.uint8), targets


def pictures(made, pixels):
    """The picture of every made row."""
    return Stacked((pixels, made.pixels))[made.place]


def resulting_counts(made, targets):
    return np.bincount(np.append(targets[made.keep], made.targets)).tolist()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"smote": {"target": 12}}], "smote changes nothing, no class has fewer"),
        ([{"undersample": {"target": 40}}], "undersample changes nothing, no class has more"),
        ([{"oversample": {"target": {"disgust": 20}}}], "oversample changes nothing"),
        (["oversample", "adasyn"], "adasyn changes nothing"),
    ],
)
def test_a_step_that_changes_nothing_is_said(steps, words):
    pixels, targets = faces([40, 25, 12])
    (said,) = idle(targets, parse(steps), LABELS)
    assert words in said
    before = balance(pixels, targets, parse(steps[:-1]), labels=LABELS)
    after = balance(pixels, targets, parse(steps), labels=LABELS)
    assert resulting_counts(after, targets) == resulting_counts(before, targets)


def test_steps_that_change_something_are_not_remarked():
    _, targets = faces([40, 25, 12])
    assert idle(targets, parse([{"smote": {"target": 30}}, {"undersample": {"target": 30}}]), LABELS) == ()


@pytest.mark.parametrize("name", MAKERS)
def test_every_maker_reaches_the_target_and_names_parents_of_the_same_class(name):
    pixels, targets = faces([40, 25, 12])
    made = balance(pixels, targets, parse([{name: {"target": 40}}]), labels=LABELS)
    assert resulting_counts(made, targets) == [40, 40, 40]
    assert made.keep.tolist() == list(range(77))
    assert pictures(made, pixels).shape == (43, 6, 6)
    assert len(made.pixels) == (0 if name == "oversample" else 43)
    assert made.parents.shape == (43, 2 if "smote" in name or name == "adasyn" else 1)
    assert (targets[made.parents] == made.targets[:, None]).all()
    assert set(made.kind) == {name}


@pytest.mark.parametrize(
    ("name", "reference"),
    [("smote", over_sampling.SMOTE), ("borderline-smote", over_sampling.BorderlineSMOTE)],
)
def test_smote_makes_what_imbalanced_learn_makes(name, reference):
    pixels, targets = faces([60, 20])
    made = balance(pixels, targets, parse([name]), seed=3)
    drawn = int(np.random.default_rng((3, 0)).integers(2**32))
    flat, _ = reference(random_state=drawn).fit_resample(pixels.reshape(80, -1).astype(np.float32), targets)
    assert np.array_equal(pictures(made, pixels).reshape(40, -1), np.rint(flat[80:]))


def test_smote_rows_lie_between_their_parents():
    pixels, targets = faces([60, 20])
    made = balance(pixels, targets, parse(["smote"]))
    a, b = pixels[made.parents[:, 0]].astype(int), pixels[made.parents[:, 1]].astype(int)
    between = pictures(made, pixels)
    assert ((between >= np.minimum(a, b)) & (between <= np.maximum(a, b))).all()
    (base, neighbour), flat = made.shares.T, (len(made.targets), -1)
    mixed = base[:, None] * a.reshape(flat) + neighbour[:, None] * b.reshape(flat)
    assert abs(between.reshape(flat) - mixed).max() <= 0.5


def test_shares_of_what_is_made_from_made_rows_are_those_of_the_rows_at_their_roots():
    pixels, targets = faces([60, 20, 9])
    made = balance(pixels, targets, parse([{"augment": {"target": 30}}, {"smote": {"target": 60}}]))
    assert made.shares.sum(axis=1) == pytest.approx(np.ones(len(made.targets)))
    assert (made.shares[made.parents < 0] == 0).all() and (made.shares[made.kind == "augment"].max(1) == 1).all()


def test_adasyn_starts_most_often_where_other_classes_are_near():
    ramp = np.repeat(np.array([*range(0, 60, 3), *range(56, 255, 3)], np.uint8), 4).reshape(-1, 2, 2)
    targets = np.repeat([0, 1], [20, 67])
    made = balance(ramp, targets, parse([{"adasyn": {"target": 60, "neighbours": 5}}]))
    assert made.parents[:, 0].min() >= 15


@settings(max_examples=25, deadline=None)
@given(
    counts=st.tuples(*[st.integers(7, 30)] * 3),
    aim=st.one_of(st.sampled_from(["max", "min", "median"]), st.integers(7, 40)),
    seed=st.integers(0, 3),
)
def test_growing_then_shrinking_to_one_target_gives_equal_classes(counts, aim, seed):
    pixels, targets = faces(counts)
    count = {"max": max(counts), "min": min(counts), "median": int(np.median(counts))}.get(aim, aim)
    steps = parse([{"augment": {"target": count, "classes": "minority", "rotation_range": 30}},
                   {"smote": {"target": count}}, {"undersample": {"target": count}}])  # fmt: skip
    made = balance(pixels, targets, steps, seed)
    again = balance(pixels, targets, steps, seed)
    assert resulting_counts(made, targets) == [count] * 3
    assert np.array_equal(pictures(made, pixels), pictures(again, pixels))
    assert np.array_equal(made.keep, again.keep)


def test_target_words_speak_of_the_counts_before_the_step():
    pixels, targets = faces([40, 25, 12])
    for word, count in (("max", 40), ("median", 25), ("min", 12)):
        made = balance(pixels, targets, parse([{"undersample": {"target": word}}]))
        assert resulting_counts(made, targets) == [min(have, count) for have in (40, 25, 12)]


def test_named_classes_and_targets_leave_the_others_alone():
    pixels, targets = faces([40, 25, 12])
    steps = parse([{"oversample": {"target": {"disgust": 30}}}, {"undersample": {"classes": ["anger"], "target": 20}}])
    assert resulting_counts(balance(pixels, targets, steps, labels=LABELS), targets) == [20, 30, 12]


def test_children_of_children_name_the_training_rows_at_the_root():
    pixels, targets = faces([40, 8])
    steps = parse([{"augment": {"target": 20, "rotation_range": 10}}, {"smote": {"target": 40}}])
    made = balance(pixels, targets, steps)
    assert made.parents.max() < len(targets)
    assert made.parents.shape == (32, 2)
    assert (made.parents[made.kind == "smote"] >= 0).all()
    assert (made.parents[made.kind == "augment"] >= 0).sum(1).tolist() == [1] * 12
    assert (targets[made.parents[made.kind == "smote"]] == 1).all()


def test_a_dropped_made_row_leaves_no_trace():
    pixels, targets = faces([40, 8])
    steps = parse([{"augment": {"target": 40, "rotation_range": 10}}, {"undersample": {"target": 10}}])
    made = balance(pixels, targets, steps)
    assert len(made.pixels) == len(made.place) == len(made.parents) == len(made.kind) == 20 - len(made.keep)
    everything = balance(pixels, targets, steps[:1])
    assert {face.tobytes() for face in pictures(made, pixels)} < {
        face.tobytes() for face in pictures(everything, pixels)
    }


def test_rows_are_repeated_and_dropped_without_a_look_at_their_pictures():
    class Unread:
        shape = (50, 6, 6)

        def __len__(self):
            return 50

        def __getitem__(self, positions):
            raise AssertionError("read")

    _, targets = faces([30, 8])
    place = np.random.default_rng(0).permutation(50)[:38]
    made = balance(Unread(), targets, parse(["oversample", {"undersample": {"target": 20}}]), place=place)
    assert resulting_counts(made, targets) == [20, 20]
    assert np.array_equal(made.place, place[made.parents[:, 0]])


def test_rows_may_lie_anywhere_among_the_pictures():
    pixels, targets = faces([20, 8])
    place = np.random.default_rng(0).permutation(28)
    for steps in (
        ["smote"],
        [{"augment": {"target": 14, "rotation_range": 9}}, "oversample", {"undersample": {"target": 9}}],
    ):
        lain, lies = balance(pixels[place], targets, parse(steps)), balance(pixels, targets, parse(steps), place=place)
        assert np.array_equal(pictures(lain, pixels[place]), pictures(lies, pixels))
        assert np.array_equal(lain.parents, lies.parents)


def test_augment_follows_its_parameters():
    pixels = np.zeros((3, 9, 9), np.uint8)
    pixels[:, 4, 1] = 255
    targets = np.array([0, 1, 1])
    still = balance(pixels, targets, parse(["augment"]))
    assert np.array_equal(pictures(still, pixels)[0], pixels[0])
    flips = balance(pixels, targets, parse([{"augment": {"target": 40, "horizontal_flip": True}}]))
    columns = {tuple(np.argwhere(face)[0]) for face in pictures(flips, pixels)}
    assert columns == {(4, 1), (4, 7)}
    turned = balance(pixels, targets, parse([{"augment": {"target": 40, "rotation_range": 90}}]))
    peaks = np.array([np.unravel_index(face.argmax(), face.shape) for face in pictures(turned, pixels)])
    assert (np.abs(np.hypot(*(peaks - 4).T) - 3) < 0.8).all()
    assert np.ptp(peaks[:, 0]) >= 5


def test_augment_shifts_at_most_as_far_as_asked():
    pixels = np.zeros((3, 20, 20), np.uint8)
    pixels[:, 10, 10] = 255
    step = {"augment": {"target": 200, "width_shift_range": 0.2, "height_shift_range": 2}}
    made = balance(pixels, np.array([0, 1, 1]), parse([step]))
    grey = pictures(made, pixels).astype(float)
    weight = grey.sum((1, 2))
    x = (grey.sum(1) @ np.arange(20)) / weight - 10
    y = (grey.sum(2) @ np.arange(20)) / weight - 10
    assert np.abs(x).max() <= 4.05
    assert np.abs(y).max() <= 2.05
    assert np.abs(x).max() > 3.5
    assert np.abs(y).max() > 1.7


def test_colour_pictures_stay_colour():
    pixels, targets = faces([10, 7])
    colour = np.stack([pixels, pixels // 2, pixels // 3], axis=-1)
    for name in ("smote", "augment", "oversample"):
        assert pictures(balance(colour, targets, parse([name])), colour).shape == (3, 6, 6, 3)


def test_no_steps_make_nothing():
    pixels, targets = faces([10, 7])
    made = balance(pixels, targets, ())
    assert len(made.pixels) == 0
    assert made.keep.tolist() == list(range(17))


def test_class_weights_are_the_balanced_ones_and_zero_for_absent_classes():
    assert class_weights(np.array([0, 0, 0, 2]), 3).tolist() == pytest.approx([4 / 6, 0, 2])


def test_a_step_names_its_classes_once():
    with pytest.raises(UsageError, match="names its classes twice"):
        parse([{"smote": {"target": {"happiness": 200}, "classes": ["anger"]}}])


@pytest.mark.parametrize(
    ("counts", "step", "message"),
    [
        ([20, 3], "smote", r"(?s)class disgust: 3 for 5 neighbours.*neighbours up to 2"),
        ([20, 1], "smote", r"(?s)class disgust: 1 for 5.*lone row"),
        ([20, 0, 5], {"smote": {"target": {"disgust": 9}}}, "class disgust has no row"),
        ([20, 0, 5], {"oversample": {"target": {"disgust": 9}}}, "class disgust has no row"),
        ([20, 0, 5], {"oversample": {"target": {"joy": 9}}}, "(?s)unknown class.*joy.*anger, disgust, fear"),
    ],
)
def test_what_cannot_be_balanced_says_why(counts, step, message):
    pixels, targets = faces(counts)
    with pytest.raises((DataError, UsageError), match=message):
        balance(pixels, targets, parse([step]), labels=LABELS)


def test_variants_say_when_no_row_is_near_another_class():
    pixels = np.concatenate([np.zeros((12, 2, 2), np.uint8), np.full((20, 2, 2), 255, np.uint8)])
    targets = np.repeat([0, 1], [12, 20])
    for name in ("borderline-smote", "adasyn"):
        with pytest.raises(DataError, match="use smote"):
            balance(pixels, targets, parse([name]))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (["smot"], "did you mean 'smote'"),
        ([{"smote": {"neighbors": 5}}], "did you mean 'neighbours'"),
        ([{"augment": {"rotation": 30}}], "did you mean 'rotation_range'"),
        ([{"smote": {}, "oversample": {}}], "one name with its options"),
        ([{"smote": [1]}], "must be named"),
        ([{"smote": {"target": 0}}], "target"),
        ([{"smote": {"target": "most"}}], "target"),
        ([{"smote": {"neighbours": 0}}], "neighbour"),
        ([{"augment": {"fill_mode": "nearst"}}], "did you mean 'nearest'"),
        ([{"augment": {"zoom_range": 1.2}}], "zoom_range"),
    ],
)
def test_wrong_recipes_are_refused_with_the_nearest_name(recipe, message):
    with pytest.raises(UsageError, match=message):
        parse(recipe)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rotation_range": "many"}, "rotation_range is a number"),
        ({"shear_range": -3}, "shear_range is a number"),
        ({"zoom_range": [1]}, "two numbers"),
        ({"zoom_range": {"low": 1}}, "two numbers"),
        ({"zoom_range": "wide"}, "two numbers"),
        ({"horizontal_flip": "maybe"}, "true or false"),
    ],
)
def test_a_step_is_refused_before_it_is_run(options, words):
    with pytest.raises(UsageError, match=words):
        parse([{"augment": options}])


def test_classes_of_a_step_are_known_by_the_names_people_use():
    pixels, targets = faces([20, 12, 6])
    made = balance(pixels, targets, parse([{"oversample": {"classes": "disgusted", "target": 15}}]), labels=LABELS)
    assert resulting_counts(made, targets) == [20, 15, 6]
    with pytest.raises(UsageError, match="disgust"):
        balance(pixels, targets, parse([{"oversample": {"classes": ["disguts"]}}]), labels=LABELS)
