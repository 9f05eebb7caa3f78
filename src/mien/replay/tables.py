"""The table of a replay: printed figures beside replayed ones, as HTML, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mien.evaluation.report.page import duration, write_page
from mien.evaluation.report.tables import Table, latex, markdown, share
from mien.files import write_json, write_text
from mien.replay.figures import METRICS

HEADINGS: Mapping[str, str] = {"as-published": "as published, replayed", "leak-free": "leak-free, replayed"}
NAMES: Mapping[str, str] = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
BESIDE: Mapping[str, str] = {
    "misclassified": "test pictures got wrong",
    "train_accuracy": "training accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "validation_loss": "validation loss",
}
"""Figures that some papers print beside those of the test; they have a row where the paper has them."""

SAYS_TITLE, DIFFERS_TITLE = "What the replay says", "What differs from the paper"


def table(document: Mapping[str, Any]) -> Table:
    """The table of what `mien.replay.run.replay` gave."""
    protocols, arms = document["protocols"], document["arms"]
    gains = len(protocols) > 1
    wanted = [name for name in METRICS if len(arms) <= 3 or name in ("accuracy", "f1")]
    head = ("arm", "figure", "published", *(HEADINGS[protocol] for protocol in protocols))
    rows = [row for arm in arms for row in _rows(arm, wanted, protocols, gains)]
    rows += [row for each in document["elsewhere"] for row in _elsewhere(each, protocols, gains)]
    notes = ["Small scale: a run for two cores and a quarter of an hour, not the paper's setting."]
    return Table(
        document["title"],
        (document["question"], *(notes if document["scale"] == "small" else [])),
        (*head, "gained by the published order") if gains else head,
        tuple(rows),
        {
            "What the paper claims": document["claims"],
            SAYS_TITLE: [
                *map(_finding, document["findings"]),
                *(f"{name} failed: {' '.join(reason.split())}" for name, reason in document["failures"].items()),
            ],
            "How the paper says it was done": [f"{key}: {value}" for key, value in document["settings"].items()],
            DIFFERS_TITLE: document["differs"],
            "What to doubt in the paper": document["doubts"],
        },
        left=2,
    )


def write(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `replay.html`, `.md`, `.tex` and `.json` into a folder; their paths."""
    made = table(document)
    write_page(folder / "replay.html", "replay.html.j2", table=made)
    write_text(folder / "replay.md", markdown(made))
    write_text(folder / "replay.tex", latex(made))
    write_json(folder / "replay.json", document)
    return [folder / f"replay.{kind}" for kind in ("html", "md", "tex", "json")]


def _rows(
    arm: Mapping[str, Any], wanted: Sequence[str], protocols: Sequence[str], gains: bool
) -> list[tuple[str, ...]]:
    replayed = [arm["replayed"].get(protocol) for protocol in protocols]

    def row(figure: str, published: str, cells: Sequence[str], gain: str = "") -> tuple[str, ...]:
        return (arm["arm"], figure, published, *cells, *([gain] if gains else []))

    found = [
        row(
            NAMES[name],
            _printed(arm["published"][name]),
            [share(each and each[name]) for each in replayed],
            _points(arm["gain"]) if name == "accuracy" else "",
        )
        for name in wanted
    ]
    for name, text in BESIDE.items():
        if arm["published"][name] is not None:
            show = _printed if name.endswith("accuracy") else _number
            found.append(row(text, show(arm["published"][name]), [show(each and each.get(name)) for each in replayed]))
    for label, printed in arm["published_classes"].items():
        classes = [each["classes"].get(label) if each else None for each in replayed]
        found.append(row(f"{label}: precision, recall, F1", _class(printed), [_class(each) for each in classes]))
    if any(each and each["held_out"] for each in replayed):
        judged = [share(each and each["held_out"]) for each in replayed]
        found.append(row("accuracy on the held-out official test", "–", judged))
    if any(each and each["embedding"] for each in replayed):
        at = [each["embedding"]["precision_at"] if each else {} for each in replayed]
        found.append(row("retrieval precision@10", "–", [_printed(each.get("10")) for each in at]))
    seconds = arm["published"]["seconds"]
    taken = [duration(each["seconds"]) if each else "–" for each in replayed]
    found.append(row("time", duration(seconds) if seconds else "–", taken))
    return found


def _elsewhere(each: Mapping[str, Any], protocols: Sequence[str], gains: bool) -> list[tuple[str, ...]]:
    replayed = [each["replayed"].get(protocol) for protocol in protocols]
    return [
        (each["what"], NAMES[name], _printed(printed), *(share(cell and cell[name]) for cell in replayed),
         *([""] if gains else []))
        for name, printed in each["published"].items()
        if name in NAMES and printed is not None
    ]  # fmt: skip


def _class(figures: Mapping[str, Any] | None) -> str:
    """Precision, recall and F1 of a class, plain or with intervals, in percent."""
    if not figures:
        return "–"
    given = [figures[name] for name in ("precision", "recall", "f1")]
    values = [each if isinstance(each, float) else each["value"] for each in given]
    return " ".join("–" if value is None else f"{100 * value:.0f}%" for value in values)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _finding(finding: Mapping[str, Any]) -> str:
    said = f"{HEADINGS[finding['protocol']].split(',')[0]}: {finding['what']}"
    if finding["difference"]:
        said += f", {_points(finding['difference'])}"
    if finding["p"] is None:
        return f"{said}, {finding['rows']}"
    test = "McNemar" if "McNemar" in finding["test"] else "sign-flip"
    corrected = ", Holm-corrected" if "Holm" in finding["test"] else ""
    return f"{said}, {finding['rows']}, {test} p = {finding['p']:.2g}{corrected}"


def _printed(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def _points(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    bounds = "" if found["low"] is None else f" [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    return f"{100 * found['value']:+.1f} points{bounds}"
