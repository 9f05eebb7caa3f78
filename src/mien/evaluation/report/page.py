"""One HTML file from a template: style and figures inside, nothing fetched."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from mien.errors import counted
from mien.evaluation.metrics import METRICS
from mien.evaluation.report.figures import band_name, percent
from mien.evaluation.report.svg import STYLE
from mien.files import write_text

COUNTED = ("nll", "ece")
"""Figures that are no shares, and are printed as numbers."""


def write_page(out: Path, template: str, **content: Any) -> Path:
    """Render a template of this package to `out`, whole or not at all. Strings are escaped, SVG from `svg` is not."""
    write_text(out, _environment().get_template(template).render(figure_style=Markup(STYLE), **content))
    return out


def figure(name: str, value: Mapping[str, float | None], digits: int = 1) -> str:
    """A metric's value as it is printed: shares as percentages, the others as numbers."""
    return _shown(name, value["value"], digits)


def bounds(name: str, value: Mapping[str, float | None], digits: int = 1) -> str:
    """A metric's interval as it is printed, or an empty string when it has none."""
    low, high = value.get("low"), value.get("high")
    if low is None or high is None:
        return ""
    return f"{_shown(name, low, digits).removesuffix('%')}–{_shown(name, high, digits)}"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4.26), duration(95), duration(5025)
    ('4.3 s', '1:35 min', '1:23:45 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    clock = str(timedelta(seconds=round(seconds)))
    return f"{clock} h" if seconds >= 3600 else f"{clock.removeprefix('0:').lstrip('0')} min"


def _shown(name: str, value: float | None, digits: int) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if name in COUNTED else percent(value, digits)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mien.evaluation.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(METRICS=METRICS, figure=figure, bounds=bounds, counted=counted)
    environment.filters.update(percent=percent, duration=duration, svg=Markup, band_name=band_name)
    return environment
