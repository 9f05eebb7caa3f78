"""The published figures against the papers' words, and against themselves."""

import re

import numpy as np
import pytest

from mien.labels import EXPRESSIONS, LABEL_SETS
from mien.replay.published import STUDIES

SHARES = ("accuracy", "precision", "recall", "f1", "train_accuracy", "validation_accuracy")

# Figure 9 of the preprocessing grid: the best model on FERPlus; rows are true, columns predicted, in canonical order.
FERPLUS_CONFUSION = (
    (358, 3, 89, 132, 6, 4, 46, 6),
    (8, 4, 14, 5, 0, 4, 15, 1),
    (12, 0, 32, 4, 1, 0, 8, 0),
    (1, 1, 3, 144, 1, 3, 11, 3),
    (61, 201, 89, 212, 1038, 29, 100, 97),
    (475, 241, 105, 391, 38, 554, 704, 89),
    (88, 26, 52, 153, 9, 37, 483, 8),
    (26, 1, 13, 633, 5, 21, 23, 178),
)

# Figure 8 of it, as far as the text quotes it: right answers of the best model on its own test split.
GRID_RIGHT_ANSWERS = {"happiness": 413, "fear": 382, "sadness": 381}


def harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall)


def doubted(name: str) -> set[str]:
    return {cell for doubt in STUDIES[name].doubts for cell in doubt.cells}


def printed(value: float, decimals: int) -> set[str]:
    """The ways in which a share is printed: 0.76 as .76 and 76%, 0.9996 as 99.96%, 0.96 as 96%."""
    percent = f"{100 * value:.{decimals - 2}f}"
    return {f"{value:.{decimals}f}", f"{percent}%", f"{100 * value:g}%"}


@pytest.mark.parametrize("name", STUDIES)
def test_every_figure_is_in_the_paper(name, shared) -> None:
    study = STUDIES[name]
    text = (shared / "studies" / f"{study.text}.txt").read_text(encoding="utf-8")
    for row in [*study.figures.values(), *study.elsewhere.values()]:
        for value in (getattr(row, share) for share in SHARES):
            assert value is None or any(form in text for form in printed(value, study.decimals)), value
        for value in (row.train_loss, row.validation_loss):
            assert value is None or f"{value:.4f}" in text
        assert row.misclassified is None or f"{row.misclassified} misclassified" in text
        if row.seconds is not None:
            assert f"{row.seconds // 60} Minutes {row.seconds % 60} Sec" in text
    for part in study.data.counts.values():
        for count in part.values():
            assert re.search(rf"\b({count}|{count:,})\b", text), count
    assert f"{study.data.stated:,}" in text
    assert study.title.split()[0].lower() in text.lower()


def test_the_grid_is_the_table_of_the_paper(shared) -> None:
    names = {"resnet50": "ResNet50", "vgg16": "VGG16", "mobilenetv3-large": "MobileNetV3Large"}
    forms = {"scratch": "{}", "partial": "Partially Frozen {} (30%)", "pretrained": "Pre-Trained {}"}
    ends = {"none": "", "undersampling": " + Undersampling", "clahe-smote": " + CLAHE + SMOTE"}
    study = STUDIES["preprocessing-grid"]
    text = (shared / "studies" / f"{study.text}.txt").read_text(encoding="utf-8").replace("<b>", "").replace("</b>", "")
    for arm, row in study.figures.items():
        network, transfer, treatment = arm.split("/")
        figures = (row.train_accuracy, row.validation_accuracy, row.accuracy, row.precision, row.recall, row.f1)
        line = [forms[transfer].format(names[network]) + ends[treatment], *(f"{value:.2f}" for value in figures)]
        assert "\t".join(line) in text.split("\n")
    for label, counts in zip(EXPRESSIONS, FERPLUS_CONFUSION, strict=True):
        assert "\t".join([label, *map(str, counts)]) in text


@pytest.mark.parametrize("name", STUDIES)
def test_labels_are_canonical_and_counts_are_the_stated_ones_or_doubted(name) -> None:
    study = STUDIES[name]
    classes = {label for part in study.data.counts.values() for label in part}
    assert classes | {label for rows in study.per_class.values() for label in rows} <= set(EXPRESSIONS)
    total = sum(sum(part.values()) for part in study.data.counts.values())
    fits = total in (0, study.data.stated)
    assert fits or any(cell.split(".")[0] in study.data.counts for cell in doubted(name))


@pytest.mark.parametrize("name", STUDIES)
def test_f1_is_that_of_precision_and_recall_or_doubted(name) -> None:
    study, half = STUDIES[name], 0.5 * 10 ** -STUDIES[name].decimals
    rows = {arm: row for arm, row in study.figures.items() if row.f1 is not None}
    rows |= {f"{arm}.{label}": row for arm, each in study.per_class.items() for label, row in each.items()}
    off = {
        f"{arm}.f1"
        for arm, row in rows.items()
        if not harmonic(row.precision - half, row.recall - half) - half
        <= row.f1
        <= harmonic(row.precision + half, row.recall + half) + half
    }
    assert off == {cell for cell in doubted(name) if cell.endswith(".f1")}


def test_every_doubted_cell_is_there() -> None:
    for name, study in STUDIES.items():
        for cell in doubted(name):
            where, _, what = cell.rpartition(".")
            arm, _, label = where.partition(".")
            if where in study.data.counts:
                assert what in study.data.counts[where]
            elif label:
                assert hasattr(study.per_class[arm][label], what)
            else:
                assert getattr(study.figures[where], what) is not None
        assert {doubt.kind for doubt in study.doubts} <= {"protocol", "table", "text", "scan"}
        assert study.claims


def test_restoration_errors_fit_no_test_split_of_the_stated_size() -> None:
    plain, restored = STUDIES["restoration-vgg19"].figures.values()
    fitting = [
        size
        for size in range(300, 600)
        if all(round(1 - row.misclassified / size, 2) == row.accuracy for row in (plain, restored))
    ]
    assert fitting == list(range(454, 473))
    assert round(0.15 * 3015) == 452


def test_restoration_test_classes_are_not_even() -> None:
    rows = STUDIES["restoration-vgg19"].per_class["plain"].values()
    least = np.mean([(row.recall - 0.005) / (row.precision + 0.005) for row in rows])
    assert least > 1.07, "on even classes it is one: every picture gets one answer"


def test_facenet_sadness_has_two_digits_swapped() -> None:
    counts, whole = STUDIES["facenet-triplet"].data.counts, STUDIES["smote-vgg19"].data.counts["all"]
    off = {label for label in whole if counts["train"][label] + counts["validation"][label] != whole[label]}
    assert off == {"sadness"}
    assert whole["sadness"] - counts["validation"]["sadness"] == 4938
    assert sum(counts["train"].values()) - 4983 + 4938 == 28_821


def test_facenet_means_are_means() -> None:
    adam, sgd, rmsprop, mean = list(STUDIES["facenet-triplet"].figures.values())[:4]
    assert round(np.mean([row.accuracy for row in (adam, sgd, rmsprop)]), 4) == mean.accuracy
    assert round(np.mean([row.seconds for row in (adam, sgd, rmsprop)])) == mean.seconds


def test_one_wrong_picture_of_196_gives_the_whole_transfer_row() -> None:
    counts = STUDIES["resnet50-transfer"].data.counts["all"] | {"anger": 135}
    assert sum(counts.values()) == 981
    support = np.array([round(0.2 * counts[label]) for label in LABEL_SETS["ckplus"]])
    confusion = np.diag(support)
    anger, surprise = 0, len(support) - 1
    confusion[surprise, surprise] -= 1
    confusion[surprise, anger] += 1
    precision, recall = (np.diag(confusion) / confusion.sum(axis=axis) for axis in (0, 1))
    row = STUDIES["resnet50-transfer"].figures["transfer"]
    assert round(195 / 196, 4) == row.accuracy
    assert np.trace(confusion) == confusion.sum() - 1
    assert round(precision.mean(), 4) == row.precision
    assert round(recall.mean(), 4) == row.recall
    assert round(harmonic(precision, recall).mean(), 4) == row.f1
    assert round(187 / 196, 4) == STUDIES["resnet50-transfer"].figures["scratch"].accuracy


def test_the_best_cell_has_more_right_answers_than_a_clean_test_split_has_pictures() -> None:
    counts = STUDIES["preprocessing-grid"].data.counts["all"]
    impossible = {label for label, right in GRID_RIGHT_ANSWERS.items() if right > 1.1 * counts[label] / 10}
    assert impossible == {"fear", "sadness"}
    assert all(right <= max(counts.values()) / 10 for right in GRID_RIGHT_ANSWERS.values())


def test_ferplus_figures_are_weighted_by_class_size() -> None:
    confusion = np.array(FERPLUS_CONFUSION)
    support, hits = confusion.sum(axis=1), np.diag(confusion)
    precision, recall = hits / confusion.sum(axis=0), hits / support
    f1 = harmonic(precision, recall)
    weighted = [np.average(each, weights=support) for each in (precision, recall, f1)]
    assert np.round(weighted, 3).tolist() == [0.689, 0.393, 0.438]
    assert np.round([each.mean() for each in (precision, recall, f1)], 2).tolist() == [0.39, 0.45, 0.31]
    assert confusion.sum() == 7099
    row = STUDIES["preprocessing-grid"].elsewhere["vgg16/scratch/clahe-smote on FERPlus"]
    assert (row.precision, row.recall, row.f1) == pytest.approx(weighted, abs=0.01)


def test_undersampled_rows_have_recall_equal_to_accuracy_or_are_doubted() -> None:
    rows = {arm: row for arm, row in STUDIES["preprocessing-grid"].figures.items() if arm.endswith("/undersampling")}
    off = {f"{arm}.recall" for arm, row in rows.items() if abs(row.accuracy - row.recall) > 0.011}
    assert off == {cell for cell in doubted("preprocessing-grid") if cell.endswith("undersampling.recall")}


def test_the_bold_cell_is_the_best() -> None:
    figures = STUDIES["preprocessing-grid"].figures
    assert len(figures) == 27
    best = max(figures, key=lambda arm: (figures[arm].accuracy, figures[arm].f1))
    assert best == "vgg16/scratch/clahe-smote"
