"""What commands print: figures with their intervals, as tables, and what came out of many pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from mien.errors import counted

_MEANT = {
    "first": "beyond chance",
    "second": "beyond chance",
    "alike": "not beyond chance",
    "untold": "too few people or pictures for any difference to be beyond chance",
}


def figures(folder: Path, found: dict[str, Any]) -> None:
    """The figures of a finished run: the content of its `metrics.json`."""
    protocol = found["protocol"]
    title = f"{folder}: {protocol['rows']} test rows of {protocol['name']}@{protocol['digest'][:12]}"
    _print_metrics(title, found["test"]["metrics"])
    _print_notes(found["notes"])
    typer.echo(f"report: {folder / 'report.html'}")


def repetitions(folder: Path, found: dict[str, dict[str, Any]], as_json: bool) -> None:
    """All answers of a folder of runs together; `found` has the content of each run's `metrics.json`."""
    from mien.evaluation.report.comparison import whose
    from mien.files import read_json

    pooled = read_json(folder / "pooled.json")
    if as_json:
        typer.echo(json.dumps({"runs": [{"run": run} | each for run, each in found.items()]} | pooled))
        return
    spread = pooled["spread"]
    rows = [
        (name.replace("_", " "), f"{each['value']:.4f}", interval(each), f"{spread[name]['deviation']:.4f}")
        for name, each in pooled["figures"]["metrics"].items()
    ]
    title = f"{folder}: {len(found)} runs, {pooled['pictures']:,} pictures, {pooled['figures']['rows']:,} answers"
    table(("figure", "value", "95% interval", "deviation of runs"), rows, title)
    for text in pooled["figures"]["few"]:
        typer.echo(f"note: {text}")
    for text, who in whose(pooled["notes"]).items():
        typer.echo(f"note: {who}: {text}")
    typer.echo(f"report: {folder / 'report.html'}")


def evaluation(document: dict[str, Any]) -> None:
    """What `mien evaluate` found out, as `judging` gives it."""
    if "figures" in document:
        rows = document["figures"]["rows"]
        title = f"{document['run']} on {document['source']}: {rows} rows of {document['protocol']}"
        _print_metrics(title, document["figures"]["metrics"])
        for label, count in document["dropped"].items():
            typer.echo(f"left out: {count} rows of {label}, a label that the model does not have")
        _print_notes(document["notes"])
    if "agreement" in document:
        one = document["agreement"]["matched"][0]
        votes, answers = _points(one["votes"]), _points(one["model"])
        typer.echo(f"an annotator drawn at random agrees with {answers}% of the answers, with {votes}% of the labels")
    if "groups" in document:
        groups(document["groups"])
    if "robustness" in document:
        found = document["robustness"]
        clean, mean = found["clean"]["accuracy"]["value"], found["mean_accuracy"]["value"]
        typer.echo(f"accuracy {clean:.4f} clean, {mean:.4f} over all corruptions")
    for path in document.get("explain", ()):
        typer.echo(path)
    for name in ("answers", "report"):
        if name in document:
            typer.echo(f"{name}: {document[name]}")


def groups(found: dict[str, Any]) -> None:
    """The groups of each column with their figures, then their gaps, as `Subgroups.as_dict` has them."""
    whole = () if found["unit"] == "pictures" else (found["unit"],)
    for each in found["columns"]:
        rows = [
            (group["name"], f"{group['pictures']:,}", *(f"{group['units']:,}" for _ in whole),
             _points(group["accuracy"]), _points(group["balanced_accuracy"]))
            for group in each["groups"]
        ]  # fmt: skip
        table((each["column"], "pictures", *whole, "accuracy %", "balanced accuracy %"), rows)
        gaps = [
            (" against ".join(filter(None, (gap["group"], gap["against"]))), _points(gap["accuracy"], "+"),
             _p(gap["adjusted"]), _points(gap["balanced_accuracy"], "+"))
            for gap in each["gaps"]
        ]  # fmt: skip
        if gaps:
            heading = "corrected\np" if len(gaps) > 1 else "p"
            rest = "" if each["gaps"][0]["against"] else ": each against the rest"
            table((f"{each['column']}{rest}", "accuracy, points", heading, "balanced, points"), gaps)
        _print_notes([f"{each['column']}: {note}" for note in each["notes"]])
    _print_notes(found["notes"])


def comparison(rows: list[dict[str, Any]], best: str | None = None) -> None:
    """The accuracy of runs side by side, the best one marked."""
    shown = [
        (f"{row['run']} (best)" if row["run"] == best else row["run"], f"{row['value']:.4f}", interval(row),
         f"{row['seconds']:.0f}")
        for row in rows
    ]  # fmt: skip
    table(("run", "accuracy", "95% interval", "seconds"), shown)


def recipes(repeats: dict[str, Any], best: str | None) -> None:
    """The accuracy of recipes that were run several times: all answers together, and how far the runs lie apart."""
    for name, found in repeats.items():
        spread = found["spread"]["accuracy"]
        whole = found["metrics"]["accuracy"] if found["metrics"] else spread["mean"]
        mark = " (best)" if name == best else ""
        typer.echo(
            f"{name}{mark}: {whole['value']:.4f} ({interval(whole)}) over all answers of {spread['runs']} runs, whose "
            f"deviation is {spread['deviation']:.4f}"
        )


def differences(document: dict[str, Any]) -> None:
    """The other arms of a comparison, as `Weighed.as_dict` has it, against the first: difference, interval, test."""
    pairs = (document.get("tests") or {}).get("pairs", ())
    for pair in pairs:
        if pair["a"] == pairs[0]["a"]:
            typer.echo(difference(pair, len(pairs)))
    again = document.get("trained_again", ())
    for each in again:
        if each["a"] == again[0]["a"]:
            typer.echo(trained_again(each))


def trained_again(found: dict[str, Any]) -> str:
    """One sentence on two recipes over the seeds or folds that both have."""
    change = found["difference"]
    return (
        f"{found['b']} against {found['a']}, trained {found['runs']} times each: {100 * change['value']:+.1f} points "
        f"[{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
    )


def difference(pair: dict[str, Any], pairs: int) -> str:
    """One sentence on a pair of arms of so many: points, interval, p, corrected for several, and what that means."""
    change, p = pair["difference"], pair["adjusted"]
    text = f"{pair['b']} against {pair['a']}: {100 * change['value']:+.1f} points"
    if change["low"] is not None:
        text += f" [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
    shown = ("corrected " if pairs > 1 else "") + ("p < 0.001" if p < 0.001 else f"p = {p:.3f}")
    return f"{text}, {shown}, {_MEANT[pair['verdict']]}{_macro_f1(pair.get('macro_f1'))}"


def _macro_f1(found: dict[str, Any] | None) -> str:
    """The same of macro F1, where it was tested."""
    if not found:
        return ""
    change, p = found["difference"], found["adjusted"]
    bounds = "" if change["low"] is None else f" [{100 * change['low']:+.1f}, {100 * change['high']:+.1f}]"
    return f"; macro F1 {100 * change['value']:+.1f}{bounds}, {'p < 0.001' if p < 0.001 else f'p = {p:.3f}'}"


def interval(found: dict[str, Any]) -> str:
    """The interval of a figure, empty where it has none."""
    return "" if found["low"] is None else f"{found['low']:.4f} to {found['high']:.4f}"


def outcome(summary: Mapping[str, int]) -> str:
    """What came out of sources, in a line: what did not happen goes unsaid."""
    said = [counted(summary["sources"], "source"), counted(summary["faces"], "face")]
    if summary["without_face"]:
        said.append(f"{counted(summary['without_face'], 'picture')} without a face")
    if summary["broken"]:
        said.append(f"{summary['broken']:,} broken")
    if summary["skipped"]:
        said.append(f"{summary['skipped']:,} already done")
    return ", ".join(said)


def _points(found: dict[str, Any], sign: str = "") -> str:
    """A share of one, or a difference of two, in hundredths with its interval."""
    if found["value"] is None:
        return "–"
    low, value, high = (
        None if found[key] is None else f"{100 * found[key]:{sign}.1f}" for key in ("low", "value", "high")
    )
    return f"{value}" if low is None else f"{value} [{low}, {high}]"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _print_metrics(title: str, metrics: dict[str, Any]) -> None:
    rows = [(name.replace("_", " "), f"{found['value']:.4f}", interval(found)) for name, found in metrics.items()]
    table(("figure", "value", "95% interval"), rows, title)


def _print_notes(notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table, its first column to the left and the others to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # As text: names of folders and runs may hold brackets, which are markup otherwise.
    shown = Table(title=None if title is None else Text(title))
    for number, heading in enumerate(headings):
        shown.add_column(Text(heading), justify="right" if number else "left")
    for row in rows:
        shown.add_row(*map(Text, row))
    Console().print(shown)
