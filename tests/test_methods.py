"""What the report says for a paper: every sentence true of its run, and no key of a recipe forgotten."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mien.data.samples import Rows, Samples, table
from mien.data.split import SplitSpec, notes
from mien.evaluation.report.folder import Run
from mien.evaluation.report.methods import sentences
from mien.evaluation.report.works import references
from mien.recipe import Recipe, changed, parse

PLAIN: dict[str, Any] = {
    "name": "told",
    "data": {"source": "fer2013"},
    "chain": ["grey", {"resize": 48}],
    "model": {"backbone": "mien-tiny"},
}
FULL = PLAIN | {
    "protocol": "ferplus-majority",
    "data": {
        "source": "ferplus", "root": "here", "options": {"mode": "majority"}, "classes": ["fear", "anger", "joy"],
        "limit": 300,
    },
    "split": {
        "method": "grouped-kfold",
        "clean": "train",
        "clean_against": [{"source": "fer2013", "root": "there", "options": {"usage": "all"}}],
    },
    "balance": {"steps": ["smote", {"undersample": {"target": 40}}]},
    "augment": dict.fromkeys(
        (
            "rotation", "shift_x", "shift_y", "shear", "zoom", "flip_horizontal", "flip_vertical", "brightness",
            "contrast", "erasing", "mixup", "cutmix", "noise",
        ),
        0.2,
    ),
    "model": {"backbone": "mien-tiny", "head": [64, 32], "transfer": "partial", "weights": "ferplus-fast"},
    "fit": {
        "schedule": "plateau", "label_smoothing": 0.1, "soft_labels": True, "teachers": ["ferplus", "fer2013"],
        "class_weights": "balanced", "ema": 0.99, "patience": 3, "progressive": 0.5,
    },
    "evaluate": {"flip": True},
}  # fmt: skip
TRIPLET = {key: value for key, value in PLAIN.items() if key != "model"} | {"triplet": {"doubling": True}}

UNTOLD = {
    "name": "it is the title of the report",
    "protocol": "what the rows were checked against is told, as the figures have it",
    "data.root": "where files lie means nothing to another reader",
    "split.clean_against.root": "where files lie means nothing to another reader",
    "fit.precision": "what it came to is told, as the figures have it",
}
"""The keys of a recipe that no sentence tells, and why."""


def told(recipe: dict[str, Any], *changes: str, samples: pd.DataFrame | None = None, **metrics: Any) -> str:
    """The sentences of a run of the recipe."""
    whole = parse(changed(deepcopy(recipe), changes)).model_dump(mode="json")
    return " ".join(sentences(run_of(whole, samples, **metrics)))


def run_of(recipe: dict[str, Any], samples: pd.DataFrame | None = None, **metrics: Any) -> Run:
    return Run(
        folder=Path(), metrics=metrics, recipe=recipe, recipe_text="", environment={"packages": {"mien": "1.2"}},
        samples=rows() if samples is None else samples, predictions=None, history=None, audit=None, robustness=None,
        groups=None, problems=None,
    )  # fmt: skip


def rows(**columns: Any) -> pd.DataFrame:
    """Ten rows: six for training, two for validation, two for test."""
    split = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    made = table([f"#{i}" for i in range(10)], ["fear", "anger"] * 5, source="fer2013", split=split)
    return made.assign(**columns)


def keys(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Every key of a recipe with nothing below it, and the words it allows where it allows only some."""
    parts = [node, *node.get("anyOf", [])]
    parts += [part["items"] for part in parts if "items" in part]
    parts = [schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part for part in parts]
    below = {key: each for part in parts for key, each in part.get("properties", {}).items()}
    if not below:
        yield path, [word for part in parts for word in (*part.get("enum", ()), part.get("const")) if word]
    for key, each in below.items():
        yield from keys(schema, each, f"{path}.{key}" if path else key)


def others(value: Any, words: list[str]) -> list[Any]:
    """Other values that a key could have."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1]
    if isinstance(value, str):
        return [word for word in words if word != value] or [f"{value}-other"]
    if isinstance(value, dict):
        return [{**value, "another": "option"}]
    return [[each + 1 for each in value] if isinstance(value[0], int | float) else value[:-1]]


def holder(recipe: dict[str, Any], parents: list[str]) -> Any:
    """What holds a key in the recipe, the first of several; None or nothing where nothing does."""
    place: Any = recipe
    for key in parents:
        place = place and place[key]
        place = place[0] if isinstance(place, list) and place else place
    return place


def changes(recipe: dict[str, Any], path: str, words: list[str]) -> Iterator[dict[str, Any]]:
    """The recipe with other values of a key; none where it does not have it."""
    *parents, last = path.split(".")
    value = (holder(recipe, parents) or {}).get(last)
    for other in others(value, words) if value not in (None, []) else []:
        each = deepcopy(recipe)
        holder(each, parents)[last] = other
        yield each


SCHEMA = Recipe.model_json_schema()
KEYS = dict(keys(SCHEMA, SCHEMA))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_recipe_is_told_or_said_to_be_untold(key: str) -> None:
    found = False
    for recipe in (FULL, PLAIN | {"data": PLAIN["data"] | {"hold_out": True}}, TRIPLET):
        whole = parse(recipe).model_dump(mode="json")
        before = sentences(run_of(whole, uncertain_below=0.5))
        others = [sentences(run_of(each, uncertain_below=0.5)) for each in changes(whole, key, KEYS[key])]
        found |= any(other != before for other in others)
    assert found != (key in UNTOLD), f"{key}: tell it in mien.evaluation.report.methods, or say in UNTOLD why not"


def test_what_is_untold_is_a_key_of_recipes() -> None:
    assert UNTOLD.keys() <= KEYS.keys() and "fit.teacher_share" in KEYS and "triplet.margin" in KEYS


def test_pictures_balanced_before_the_split_are_counted_as_rows_and_real_pictures() -> None:
    early = PLAIN | {
        "balance": {"order": "balance-before-split", "steps": ["smote"]},
        "split": {"method": "stratified"},
    }
    made = rows(source=["fer2013"] * 3 + ["made"] * 3 + ["fer2013", "made"] * 2, parent=[None] * 3 + [0] * 7)
    said = told(early, samples=made)
    assert "All pictures, also those for validation and test, were balanced before the split: smote (target max" in said
    assert "6 training rows, 3 of them real pictures" in said and "2 test rows, 1 of them real pictures" in said
    late = told(PLAIN | {"balance": {"steps": ["smote"]}}, samples=made.assign(source=["fer2013"] * 5 + ["made"] * 5))
    assert "Training pictures were balanced after the split: smote" in late and "All pictures" not in late


def published(*parts: str) -> Samples:
    split = [part for part in parts for _ in range(20)]
    listed = table([f"#{i}" for i in range(len(split))], ["fear", "anger"] * 10 * len(parts), source="x", split=split)
    return Samples(listed, ("anger", "fear"), Rows(np.zeros((len(split), 8, 8), np.uint8), "x"))


def test_a_part_that_stands_in_for_another_is_told() -> None:
    def said(*parts: str, hold_out: bool = False) -> str:
        return told(PLAIN, f"data.hold_out={hold_out}", notes=list(notes(published(*parts), SplitSpec())))

    assert "The split is the one that the dataset publishes." in said("train", "validation", "test")
    carved = "validation pictures are about 11.1% of its training part (split seed 0)"
    two = said("train", "test")
    assert f"Test pictures are those that the dataset publishes; {carved}" in two and "is the one" not in two
    held_out = said("train", "validation", hold_out=True)
    assert "fer2013; without the official test part." in held_out and "is the one" not in held_out
    assert f"Test pictures are the validation part that the dataset publishes; {carved}" in held_out


def test_an_embedding_is_told_with_its_data_its_seed_and_what_was_kept() -> None:
    said = told(TRIPLET, "data.limit=150", "data.classes=[fear, anger, joy]", "seeds=[3]", "evaluate.flip=true")
    assert "only the classes fear, anger and joy; a stratified sample of at most 150 pictures" in said
    assert "with seed 3" in said and "the weights with the highest accuracy were kept" in said
    assert "mean over a picture and its mirror image" in said and "mien-small" not in said


def test_validation_pictures_that_training_shows_are_told_with_the_temperature() -> None:
    assert "validation pictures." in told(PLAIN, calibrated_on={"rows": 2, "of": 2, "shown_in_training": 1})
    fewer = told(PLAIN, calibrated_on={"rows": 90, "of": 100, "shown_in_training": 10})
    assert "validation pictures, without the 10 that training shows too." in fewer


def test_intervals_are_told_where_there_are_some_with_what_they_resample() -> None:
    without = told(PLAIN, "evaluate.bootstrap=0")
    assert "ntervals" not in without and "bootstrap" not in without
    whole = parse(PLAIN | {"evaluate": {"bootstrap": 0}}).model_dump(mode="json")
    assert not any("bootstrap" in work for work in references(run_of(whole)))
    assert "1,000 resamples of pictures." in told(PLAIN) and "by itself" not in told(PLAIN)
    people = [*"AABBCCDDEF"]
    assert "of whole people." in told(PLAIN, samples=rows(subject=people))
    assert "each by itself" in told(PLAIN, samples=rows(subject=people))
    assert "ntervals" not in told(PLAIN, samples=rows(subject="S1")), "of one person there are none"
    assert "of whole sequences where they are named." in told(PLAIN, samples=rows(sequence=["1"] * 9 + [None]))
    assert "each together with what was made of it." in told(PLAIN, samples=rows(parent=[None] * 9 + [0]))


def test_an_audit_is_told_with_what_it_let_stay() -> None:
    finding = {"code": "near-twins-across-splits", "severity": "warning", "count": 7, "message": "", "advice": ""}
    whole = parse(PLAIN).model_dump(mode="json")

    def said(*notes: str) -> str:
        run = run_of(whole, notes=list(notes))
        return " ".join(sentences(Run(**vars(run) | {"audit": {"findings": [finding]}})))

    assert "told of near-twins-across-splits (7)" in said("near-twins-across-splits: 7 pictures; drop them")
    assert "found none." in said(), "what the run has taken care of is no leak"
    assert "No audit looked for twins" in told(PLAIN, "audit=off")


def test_pictures_that_could_not_be_used_are_counted_by_reason() -> None:
    reasons = ["not a picture", "cut short", "dropped by the chain: no-face", "dropped by the chain: no-face"]
    problems = pd.DataFrame({"image": [f"{i}.png" for i in range(4)], "reason": reasons})
    run = run_of(parse(PLAIN).model_dump(mode="json"))
    said = " ".join(sentences(replace(run, problems=problems)))
    assert "4 further pictures could not be used (2 unreadable, 2 no-face)." in said
    assert "could not be used" not in " ".join(sentences(run))


def test_a_run_without_its_rows_tells_no_method() -> None:
    run = run_of(parse(PLAIN).model_dump(mode="json"))
    assert sentences(run) and not sentences(Run(**vars(run) | {"samples": None}))


def test_a_teacher_a_frozen_start_and_no_weight_decay_are_told_in_plain_words() -> None:
    fit = {
        "teachers": ["ferplus"],
        "teacher_share": 0.6,
        "weight_decay": 0,
        "schedule": "constant",
        "learning_rate": 0.1,
    }
    start = {"backbone": "mien-tiny", "transfer": "frozen", "weights": "hub", "head": [64, 32]}
    said = told(PLAIN | {"fit": fit, "model": start, "augment": {"noise": 0.1}})
    assert (
        "Of it, 60% was instead the cross-entropy with what the teacher ferplus answered to the same pictures" in said
    )
    assert "pictures without noise." in said and "with no weight decay; the learning rate stays at 0.1." in said
    assert (
        "64 and 32 hidden units, ReLU and a dropout of 0.2 was trained from timm's pretrained weights, in its" in said
    )
