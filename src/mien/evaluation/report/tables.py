"""Tables for papers: figures of runs and recipes as Markdown, LaTeX, or CSV."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from mien.errors import UsageError
from mien.evaluation.metrics import METRICS
from mien.evaluation.report.page import COUNTED
from mien.files import write_text

KINDS = (".md", ".tex", ".csv")
_OF_A_CLASS = {"precision": "precision", "recall": "recall", "f1": "F1"}
_ESCAPES = (
    {letter: f"\\{letter}" for letter in "%&#_${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--"}
)


@dataclass(frozen=True)
class Table:
    """A title, what must be read with it, a head, rows of text, and lists of texts below, by their titles.

    The first `left` columns are words, the others figures.
    """

    title: str
    notes: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lists: Mapping[str, Sequence[str]]
    left: int = 1


def write_figures(arms: Mapping[str, Mapping[str, Any]], said: Sequence[str], out: Path) -> Path:
    """Write the figures of arms, as `metrics.evaluate` has them, as the kind of table that the name of `out` ends in.

    `.md` and `.tex` have a column an arm and the texts `said` below; `.csv` has a line a figure: arm, class (empty for
    all), figure, value, low, high, all shares as fractions of one. Raises UsageError for another ending.
    """
    if out.suffix not in KINDS:
        raise UsageError("a report is a page or a table", got=out, allowed=(".html", *KINDS))
    if out.suffix == ".csv":
        write_text(out, _tidy(arms))
    else:
        write_text(out, (markdown if out.suffix == ".md" else latex)(_side_by_side(arms, said)))
    return out


def _side_by_side(arms: Mapping[str, Mapping[str, Any]], said: Sequence[str]) -> Table:
    rows = [(title, *(_cell(name, test["metrics"][name]) for test in arms.values())) for name, title in METRICS.items()]
    classes = [{each["label"]: each for each in test["per_class"]} for test in arms.values()]
    for label in dict.fromkeys(label for each in classes for label in each):
        for name, title in _OF_A_CLASS.items():
            rows.append(
                (f"{label}: {title}", *(share(each[label][name]) if label in each else "–" for each in classes))
            )
    counts = ", ".join(f"{name}: {test['rows']:,}" for name, test in arms.items())
    notes = (
        "Figures with 95% intervals over pictures, or people where they are named; of a recipe that was run several "
        f"times, all answers together. Answers to test pictures: {counts}.",
    )
    return Table("Figures on test pictures", notes, ("figure", *arms), tuple(rows), {"Beside the figures": said})


def _tidy(arms: Mapping[str, Mapping[str, Any]]) -> str:
    text = StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(("arm", "class", "figure", "value", "low", "high"))
    for arm, test in arms.items():
        for label, name, found in _listed(test):
            write.writerow((arm, label, name, found["value"], found["low"], found["high"]))
    return text.getvalue()


def _listed(test: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float | None]]]:
    for name, found in test["metrics"].items():
        yield "", name, found
    for each in test["per_class"]:
        for name in _OF_A_CLASS:
            yield each["label"], name, each[name]


def _cell(name: str, found: Mapping[str, Any]) -> str:
    if name not in COUNTED:
        return share(found)
    bounds = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{bounds}"


def markdown(made: Table) -> str:
    """The table in Markdown."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    def listed(title: str, texts: Sequence[str]) -> list[str]:
        return ["", f"## {title}", "", *(f"- {text}" for text in texts)] if texts else []

    return "\n".join(
        [
            f"# {made.title}", "", *(f"{note}\n" for note in made.notes),
            line(made.head), line(["---"] * len(made.head)), *map(line, made.rows),
            *(text for title, texts in made.lists.items() for text in listed(title, texts)), "",
        ]
    )  # fmt: skip


def latex(made: Table) -> str:
    """The table as LaTeX for the packages `booktabs` and `longtable`, and below it what must be read with it."""

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(map(_escaped, cells))} \\\\"

    def listed(title: str, texts: Sequence[str]) -> list[str]:
        items = (rf"\item {_escaped(text)}" for text in texts)
        return [rf"\paragraph{{{title}}}", r"\begin{itemize}", *items, r"\end{itemize}"] if texts else []

    return "\n".join(
        [
            "% \\usepackage{booktabs,longtable}", r"\begingroup\small",
            rf"\begin{{longtable}}{{{'l' * made.left}{'r' * (len(made.head) - made.left)}}}",
            rf"\caption{{{_escaped(' '.join((made.title + '.', *made.notes)))}}}\\",
            r"\toprule", line(made.head), r"\midrule", r"\endhead", *map(line, made.rows),
            r"\bottomrule", r"\end{longtable}", r"\endgroup",
            *(text for title, texts in made.lists.items() for text in listed(title, texts)), "",
        ]
    )  # fmt: skip


def share(found: Mapping[str, Any] | None) -> str:
    """A figure {value, low, high} in percent with its interval, or a dash."""
    if not found or found["value"] is None:
        return "–"
    bounds = "" if found["low"] is None else f" [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    return f"{100 * found['value']:.1f}%{bounds}"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)
