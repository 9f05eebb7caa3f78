"""A plotting area in SVG: scales, axes and marks, styled by class so that a page can turn dark or be printed."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files

STYLE = files(__package__).joinpath("templates/figure.css").read_text(encoding="utf-8")

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """A linear map from values low..high to pixels start..end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / ((self.high - self.low) or 1) * (self.end - self.start)


@dataclass
class Plot:
    """A plotting area `width` x `height`, with margins (top, right, bottom, left), that marks are added to in order."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: int = 360
    height: int = 250
    margins: tuple[int, int, int, int] = (12, 22, 40, 52)
    marks: list[str] = field(default_factory=list)

    @property
    def x(self) -> Scale:
        """Values to horizontal pixels."""
        return Scale(*self.x_range, self.margins[3], self.width - self.margins[1])

    @property
    def y(self) -> Scale:
        """Values to vertical pixels, upwards."""
        return Scale(*self.y_range, self.height - self.margins[2], self.margins[0])

    def axes(
        self,
        x_name: str,
        y_name: str,
        x_form: Callable[[float], str],
        y_form: Callable[[float], str],
        whole: bool = False,
    ) -> None:
        """Grid lines, tick labels and axis names; `whole` labels the whole numbers of the x axis only."""
        x, y = self.x, self.y
        for value in ticks(*self.y_range):
            self.line([(self.x_range[0], value), (self.x_range[1], value)], "grid")
            self.marks.append(text(x.start - 6, y(value) + 4, y_form(value), "tick end"))
        for value in ticks(*self.x_range):
            if not whole or value == round(value):
                self.marks.append(text(x(value), y.start + 16, x_form(value), "tick mid"))
        self.line([(self.x_range[0], self.y_range[0]), (self.x_range[1], self.y_range[0])], "axis")
        self.marks.append(text((x.start + x.end) / 2, self.height - 6, x_name, "name mid"))
        middle = (y.start + y.end) / 2
        if y_name:
            turned = f'transform="rotate(-90 12 {_short(middle)})"'
            self.marks.append(text(12, middle, y_name, "name mid", turned))

    def line(self, points: Iterable[Point], style: str) -> None:
        """A polyline through value coordinates; points that are not finite are left out."""
        self.marks.append(f'<polyline class="{style}" points="{self._pixels(points)}"/>')

    def band(self, low: Sequence[Point], high: Sequence[Point], style: str) -> None:
        """The area between two curves over the same abscissae."""
        self.marks.append(f'<polygon class="band {style}" points="{self._pixels([*low, *reversed(high)])}"/>')

    def dot(self, point: Point, style: str, radius: float = 3.5) -> None:
        """A disc at value coordinates."""
        x, y = self.x(point[0]), self.y(point[1])
        self.marks.append(f'<circle class="{style}" cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}"/>')

    def bar(self, corner: Point, opposite: Point, style: str) -> None:
        """A rectangle between two corners in value coordinates."""
        (left, right) = sorted((self.x(corner[0]), self.x(opposite[0])))
        (top, bottom) = sorted((self.y(corner[1]), self.y(opposite[1])))
        self.marks.append(rectangle(left, top, right - left, bottom - top, style))

    def svg(self, title: str) -> str:
        """The finished figure; `title` is read aloud by screen readers."""
        return document(self.width, self.height, self.marks, title)

    def _pixels(self, points: Iterable[Point]) -> str:
        kept = [(px, py) for px, py in points if math.isfinite(px) and math.isfinite(py)]
        return " ".join(f"{_short(self.x(px))},{_short(self.y(py))}" for px, py in kept)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from low to high.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = min((power * factor for factor in (1, 2, 5, 10)), key=lambda size: abs(size - rough))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def text(x: float, y: float, content: str, style: str, extra: str = "") -> str:
    """A text element at pixel coordinates."""
    return f'<text class="{style}" x="{_short(x)}" y="{_short(y)}" {extra}>{escape(content)}</text>'


def rectangle(x: float, y: float, width: float, height: float, style: str, extra: str = "") -> str:
    """A rectangle at pixel coordinates."""
    size = f'width="{_short(max(width, 0))}" height="{_short(max(height, 0))}"'
    return f'<rect class="{style}" x="{_short(x)}" y="{_short(y)}" {size} {extra}/>'


def document(width: float, height: float, marks: Iterable[str], title: str) -> str:
    """An SVG element of the given size, for a page that carries `STYLE`."""
    return (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_short(width)} {_short(height)}" '
        f'role="img" style="max-width:{_short(width * 1.25)}px"><title>{escape(title)}</title>{"".join(marks)}</svg>'
    )


def standalone(svg: str) -> str:
    """The same figure as a file of its own, with its style inside."""
    return svg.replace("<title>", f"<style>{STYLE}</style><title>", 1) + "\n"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
