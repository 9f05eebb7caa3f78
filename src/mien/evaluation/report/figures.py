"""The figures of a report, each a function from figures in numbers to one SVG."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mien.evaluation.report.svg import Plot, Point, Scale, document, rectangle, text, ticks

Number = Mapping[str, float | None]

_ROW = 30
_FEWEST = 10
"""Reliability bins of fewer pictures say more about chance than about the model and are not drawn."""


def percent(value: float, digits: int = 0) -> str:
    """A share of one as a percentage.

    >>> percent(0.7125, 1)
    '71.2%'
    """
    return f"{100 * value:.{digits}f}%"


def curves(series: Mapping[str, Sequence[float]], epochs: Sequence[float], name: str, best: float | None = None) -> str:
    """One quantity over epochs, a line for each series; `best` is marked by a vertical line."""
    finite = [value for values in series.values() for value in values if math.isfinite(value)] or [0.0, 1.0]
    as_share = name.lower() == "accuracy"
    low = min(finite) if as_share else min(0.0, *finite)
    span = (max(finite) - low) or 1
    plot = Plot((min(epochs), max(max(epochs), min(epochs) + 1)), (max(0.0, low - 0.05 * span), low + 1.08 * span))
    plot.axes("epoch", name, lambda v: f"{v:g}", percent if as_share else lambda v: f"{v:g}", whole=True)
    if best is not None:
        plot.line([(best, plot.y_range[0]), (best, plot.y_range[1])], "ideal")
    for index, values in enumerate(series.values(), start=1):
        points = [(e, v) for e, v in zip(epochs, values, strict=True) if math.isfinite(v)]
        plot.line(points, f"stroke{index} dashed" if index < len(series) else f"stroke{index}")
        for point in points[-1:]:
            plot.dot(point, f"fill{index}")
    return plot.svg(f"{name} over epochs: {', '.join(series)}")


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix: colour and large figure are the share of the true class, the small figure the count."""
    cell, left, top = 58, 96, 34
    size = cell * len(labels)
    marks = [text(left + size / 2, 12, "predicted", "name mid")]
    marks.append(text(11, top + size / 2, "true", "name mid", f'transform="rotate(-90 11 {top + size / 2})"'))
    for i, label in enumerate(labels):
        marks.append(text(left + cell * (i + 0.5), top - 7, label, "mid count"))
        marks.append(text(left - 8, top + cell * (i + 0.5) + 4, label, "end"))
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            share = count / sum(row) if sum(row) else 0.0
            x, y, ink = left + cell * j, top + cell * i, " on-heat" if share > 0.66 else ""
            marks.append(rectangle(x + 1, y + 1, cell - 2, cell - 2, "grid", 'fill="none" rx="3"'))
            opacity = f'fill-opacity="{0.04 + 0.9 * share:.3f}" rx="3"'
            marks.append(rectangle(x + 1, y + 1, cell - 2, cell - 2, "heat", opacity))
            if count:
                marks.append(text(x + cell / 2, y + cell / 2 + 2, percent(share), f"mid share{ink}"))
                marks.append(text(x + cell / 2, y + cell / 2 + 17, f"{count:,}", f"mid count{ink}"))
    return document(left + size + 4, top + size + 4, marks, "confusion matrix, true classes in rows")


def class_bars(rows: Sequence[Mapping[str, Any]], metric: str, each: str = "class") -> str:
    """One metric of every class, or of `each` of something else, as horizontal bars with interval whiskers."""
    left, right, top = 84, 46, 6
    width, height = 330, top + _ROW * len(rows) + 22
    x = Scale(0, 1, left, width - right)
    marks = [rectangle(x(value), top, 1, _ROW * len(rows), "quiet pale") for value in (0, 0.25, 0.5, 0.75, 1)]
    marks += [text(x(value), height - 6, percent(value), "tick mid") for value in (0, 0.5, 1)]
    for i, row in enumerate(rows):
        estimate, middle = row[metric], top + _ROW * (i + 0.5)
        marks.append(text(left - 8, middle + 4, row["label"], "end"))
        if estimate["value"] is None:
            marks.append(text(left + 6, middle + 4, "no pictures", "tick"))
            continue
        marks.append(rectangle(left, middle - 8, x(estimate["value"]) - left, 16, "fill1 pale", 'rx="2"'))
        marks.append(_whisker(x, middle, estimate))
        marks.append(text(width - 2, middle + 4, percent(estimate["value"]), "end bold"))
    return document(width, height, marks, f"{metric} of each {each} with 95% intervals")


def agreement(bands: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy by the share of the annotators who agree, least first."""
    rows = [{"label": band_name(each), "accuracy": each["accuracy"]} for each in bands]
    return class_bars(rows, "accuracy", "share of the annotators who agree")


def band_name(band: Mapping[str, Any]) -> str:
    """The bounds of a band of shares, the upper one included.

    >>> band_name({"low": 0.5, "high": 0.6}), band_name({"low": 0, "high": 0.5})
    ('50–60%', 'up to 50%')
    """
    low, high = 100 * band["low"], percent(band["high"])
    return f"{low:.0f}–{high}" if low else f"up to {high}"


def reliability(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Accuracy against confidence in bins for each series (before, after), with the counts of the last below."""
    plot = Plot((0, 1), (0, 1), width=380, height=340)
    plot.axes("confidence", "accuracy", percent, percent)
    shown = list(series.values())[-1]
    most = max(each["count"] for each in shown) or 1
    for each in shown:
        plot.bar((each["low"] + 0.006, 0), (each["high"] - 0.006, 0.22 * each["count"] / most), "quiet")
    plot.line([(0, 0), (1, 1)], "ideal")
    for index, bins in enumerate(reversed(list(series.values())), start=1):
        points: list[Point] = [(b["confidence"], b["accuracy"]) for b in bins if b["count"] >= _FEWEST]
        plot.line(points, f"stroke{index}" + (" dashed" if index > 1 else ""))
        for point in points:
            plot.dot(point, f"fill{index}", 3.5 if index == 1 else 2.5)
    return plot.svg("reliability diagram: accuracy against confidence")


def selective(curve: Sequence[Mapping[str, Any]], chosen: Mapping[str, float] | None = None) -> str:
    """Accuracy among the answered rows against the share answered; the point `chosen` is ringed."""
    floor = min(each["accuracy"] for each in curve)
    plot = Plot((0, 1), (max(0.0, math.floor(20 * (floor - 0.02)) / 20), 1), width=380, height=340)
    plot.axes("share of pictures answered", "accuracy among the answered", percent, percent)
    plot.line([(each["coverage"], each["accuracy"]) for each in curve], "stroke1")
    for each in [chosen] if chosen else []:
        point = each["coverage"], each["accuracy"]
        plot.dot(point, "fill2")
        plot.dot(point, "ring", 7)
        label = f"{percent(each['accuracy'], 1)} right on {percent(each['coverage'])}"
        right, down, style = (-12, 22, "bold end") if each["coverage"] > 0.4 else (12, -10, "bold")
        plot.marks.append(text(plot.x(point[0]) + right, plot.y(point[1]) + down, label, style))
    return plot.svg("accuracy among the answered against the share answered")


def strengths(points: Sequence[Mapping[str, Any]], clean: Mapping[str, Number], name: str) -> str:
    """Accuracy (solid, with its interval) and calibration error (dashed) at growing strengths of one corruption."""
    plot = Plot((0, len(points)), (0, 1), width=240, height=170, margins=(8, 12, 38, 40))
    plot.axes("strength", "", lambda v: f"{v:g}", percent)
    steps: list[Mapping[str, Any]] = [{"strength": 0, **clean}, *points]
    for index, metric in enumerate(("accuracy", "ece"), start=1):
        low, high = (
            [(p["strength"], math.nan if (bound := p[metric].get(side)) is None else bound) for p in steps]
            for side in ("low", "high")
        )
        line: list[Point] = [(p["strength"], p[metric]["value"]) for p in steps]
        plot.band(low, high, f"fill{index}")
        plot.line(line, f"stroke{index} dashed" if index > 1 else f"stroke{index}")
        for point in line:
            plot.dot(point, f"fill{index}", 3 if index == 1 else 2)
    return plot.svg(f"accuracy and calibration error under {name}")


def forest(
    rows: Sequence[tuple[str, Number]],
    marked: str | None = None,
    title: str = "accuracy of every arm with its 95% interval",
) -> str:
    """Estimates with intervals, one under the other, so that overlaps are seen; one is `marked` by its colour."""
    left = 16 + 7 * min(34, max(len(name) for name, _ in rows))
    width, top = left + 320, 8
    height = top + _ROW * len(rows) + 24
    bounds = [v for _, e in rows for v in e.values() if v is not None]
    span = max(max(bounds) - min(bounds), 0.02)
    low, high = max(0.0, min(bounds) - 0.08 * span), min(1.0, max(bounds) + 0.08 * span)
    plot = Plot((low, high), (0, 1), width, height, (top, 70, 24, left))
    steps = ticks(low, high)
    digits = 0 if all(abs(100 * value - round(100 * value)) < 1e-6 for value in steps) else 1
    for value in steps:
        plot.line([(value, 0), (value, 1)], "grid")
        plot.marks.append(text(plot.x(value), height - 6, percent(value, digits), "tick mid"))
    for i, (name, estimate) in enumerate(rows):
        middle = top + _ROW * (i + 0.5)
        shown = name if len(name) <= 34 else f"{name[:33]}…"
        plot.marks.append(text(left - 10, middle + 4, shown, "end bold" if name == marked else "end"))
        share = estimate["value"]
        if share is None:
            continue
        plot.marks.append(_whisker(plot.x, middle, estimate))
        style = "fill3" if name == marked else "fill1"
        plot.marks.append(f'<circle class="{style}" cx="{plot.x(share):.1f}" cy="{middle}" r="5.5"/>')
        plot.marks.append(text(width - 4, middle + 4, percent(share, 1), "end bold"))
    return document(width, height, plot.marks, title)


def class_changes(rows: Sequence[tuple[str, Number]]) -> str:
    """Differences of recall a class, with intervals, to the left and right of zero."""
    left, right, top = 84, 64, 6
    width, height = 420, top + _ROW * len(rows) + 24
    bounds = [v for _, e in rows for v in e.values() if v is not None]
    low, high = min(0.0, *bounds) - 0.01, max(0.0, *bounds) + 0.01
    x = Scale(low, high, left, width - right)
    marks = []
    for value in ticks(low, high):
        marks.append(rectangle(x(value), top, 1, _ROW * len(rows), "axis" if value == 0 else "quiet pale"))
        marks.append(text(x(value), height - 6, f"{100 * value:+.0f}" if value else "0", "tick mid"))
    for i, (label, estimate) in enumerate(rows):
        middle, change = top + _ROW * (i + 0.5), estimate["value"] or 0.0
        start, end = sorted((x(0), x(change)))
        style = "fill1 pale" if change >= 0 else "fill2 pale"
        marks.append(text(left - 8, middle + 4, label, "end"))
        marks.append(rectangle(start, middle - 8, end - start, 16, style, 'rx="2"'))
        marks.append(_whisker(x, middle, estimate))
        marks.append(text(width - 2, middle + 4, f"{100 * change:+.1f}", "end bold"))
    return document(width, height, marks, "change of recall of each class, in points, with 95% intervals")


def _whisker(x: Scale, middle: float, estimate: Number) -> str:
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return ""
    a, b = f"{x(low):.1f}", f"{x(high):.1f}"
    ends = f"M{a},{middle - 4} V{middle + 4} M{b},{middle - 4} V{middle + 4}"
    return f'<path class="whisker" d="M{a},{middle} H{b} {ends}"/>'
