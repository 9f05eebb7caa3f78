"""The model card of a bundle, in Markdown: figures with intervals, weak sides, intended use (Mitchell et al. 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.errors import counted
from mien.evaluation.report.folder import Run, read_run
from mien.files import write_text
from mien.runtime.bundle import Bundle, load

SELDOM = 0.35
"""Recall below which a class is listed among the known failures."""


def write_card(bundle: Path, run: Path, out: Path) -> Path:
    """Write the card of a bundle that was exported from a run; robustness is in it where the run has been asked."""
    write_text(out, card(load(bundle), read_run(run)))
    return out


def card(bundle: Bundle, run: Run) -> str:
    """The card's text: what the bundle says of itself, and what its run found out class by class."""
    sections = [
        ("Figures", _figures(bundle, run)),
        ("Robustness", _robustness(run.robustness)),
        ("Groups", _groups(run.groups)),
        ("Training", _training(bundle, run.metrics["notes"])),
        ("Known failures", _failures(run)),
        ("Intended use", _INTENDED),
    ]
    info = bundle.info
    channels = "grey" if bundle.chain.channels == 1 else "colour"
    assert bundle.chain.size is not None
    height, width = bundle.chain.size
    passes = "two forward passes" if info.flip else "one forward pass"
    title = (
        f"# Model card: `{info.name}`\n\n{len(info.labels)} expressions: {', '.join(info.labels)}. "
        f"{bundle.size / 2**20:.2f} MiB, {info.figures['precision']}, {passes} on a {channels} face of "
        f"{width} x {height}."
    )
    return "\n\n".join([title, *(f"## {heading}\n\n{text}" for heading, text in sections if text)]) + "\n"


def _figures(bundle: Bundle, run: Run) -> str:
    figures, test = bundle.info.figures, run.metrics["test"]
    named = {"accuracy": "accuracy", "macro_f1": "macro F1", "ece": "calibration error"}
    shown = _table(
        ("figure", "value", "95% interval"), [(text, *_share(figures["test"][k])) for k, text in named.items()]
    )
    classes = [(each["label"], f"{each['support']:,}", *_share(each["recall"])) for each in test["per_class"]]
    reader = "the bundle itself" if figures["precision"] == "int8" else "the run, which the bundle repeats"
    without = run.metrics["test_without_twins"]
    of_run = f"The run that it comes from, in float32: {_share(test['metrics']['accuracy'])[0]} on the same rows"
    if without["rows"]:
        kept = f"{without['rows']:,} of them without a twin in the training part as it came"
        of_run += f", {_share(without['accuracy'])[0]} on the {kept}"
    return "\n\n".join(
        [
            f"Protocol `{figures['protocol']}`, {figures['test_rows']:,} test rows, read by {reader}.",
            shown,
            f"Accuracy on the validation rows, which chose the epoch: {figures['validation_accuracy']:.1%}. {of_run}.",
            _table(("expression", "test rows", "recall of the run", "95% interval"), classes),
        ]
    )


def _robustness(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    rows = [
        (name, *(f"{strength['accuracy']['value']:.1%}" for strength in strengths))
        for name, strengths in found["corruptions"].items()
    ]
    return "Accuracy of the run on the same rows, corrupted at five strengths:\n\n" + _table(
        ("corruption", "1", "2", "3", "4", "5"), rows
    )


def _groups(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    rows = [
        (each["column"], group["name"], f"{group['pictures']:,}", *_share(group["accuracy"]))
        for each in found["columns"]
        for group in each["groups"]
    ]
    said = f"Accuracy of the run on its test rows; intervals over {found['unit']}.\n\n"
    notes = "".join(f"\n- {note}" for note in found["notes"])
    return said + _table(("", "group", "pictures", "accuracy", "95% interval"), rows) + (f"\n{notes}" if notes else "")


def _training(bundle: Bundle, notes: Sequence[str]) -> str:
    info = bundle.info
    noted = "".join(f"\n- {note}" for note in notes)
    if info.uncertain_below:
        uncertain = f"Answers below a probability of {info.uncertain_below:.2f} are marked uncertain"
    else:
        uncertain = (
            "Every answer is marked uncertain, since no threshold promises the accuracy that the recipe asks for"
        )
    return (
        f"{info.training_data}. {info.origin}, recipe digest `{info.recipe_digest[:12]}`. Temperature "
        f"{info.temperature:.2f}, fitted on validation. {uncertain}."
        + (f"\n\nNotes of the run:\n{noted}" if noted else "")
        + f"\n\nLicence: {info.licence}."
    )


def _failures(run: Run) -> str:
    test, robustness = run.metrics["test"], run.robustness
    labels, confusion = test["labels"], test["confusion"]
    recalls = {each["label"]: each["recall"]["value"] for each in test["per_class"]}
    weak = [label for label, recall in recalls.items() if recall is not None and recall < SELDOM]
    unseen = [label for label, recall in recalls.items() if recall is None]
    mistakes = sorted(
        ((confusion[i][j], a, b) for i, a in enumerate(labels) for j, b in enumerate(labels) if i != j), reverse=True
    )
    across = (
        "how the run fares in groups of test pictures stands above"
        if run.groups
        else "how the model fares across them has not been measured"
    )
    said = [f"{a} read as {b} ({counted(count, 'row')})" for count, a, b in mistakes[:3] if count]
    lines = [
        f"Seldom named, so that their absence means little: {', '.join(weak)}."
        if weak
        else f"No class lies below a recall of {SELDOM:.0%}.",
        *([f"Not among the test rows, so that nothing is known of it: {', '.join(unseen)}."] if unseen else []),
        f"Most frequent confusions: {'; '.join(said) or 'none'}.",
        *_hurt(robustness),
        "How the people in the training pictures are spread over age, skin tone and culture is known only as far as "
        f"the publisher of the data says; {across}.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _hurt(robustness: Mapping[str, Any] | None) -> list[str]:
    """The corruptions that cost most when they are mild, at the second of five strengths."""
    if not robustness:
        return []
    mild = sorted((strengths[1]["accuracy"]["value"], name) for name, strengths in robustness["corruptions"].items())
    return [f"Hurt most by {', '.join(f'{name} ({value:.1%} at strength 2)' for value, name in mild[:3])}."]


_INTENDED = (
    "Research, teaching, and interfaces where a wrong answer costs little. Not for decisions about people: hiring, "
    "policing, exams, insurance, medical diagnosis. An answer names what a face shows, as annotators would; it does "
    "not measure what a person feels."
)


def _share(found: Mapping[str, float | None]) -> tuple[str, str]:
    value, low, high = found["value"], found["low"], found["high"]
    interval = "–" if low is None or high is None else f"{low:.1%} to {high:.1%}"
    return "–" if value is None else f"{value:.1%}", interval


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
