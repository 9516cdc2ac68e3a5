"""Line charts as inline SVG, which follow the style sheet and whose text keeps its size at any width.

Positions are percentages of the plot, so that a chart fills its column on a desk as on a phone.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

MAX_TICKS = 6
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps values to the fraction 0 to 1 of a side of the plot."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]  # value and text
    transform: Callable[[float], float] = float

    def at(self, value: float) -> float:
        """The position of a value; values beyond the ends are drawn at the ends."""
        low, high = self.transform(self.low), self.transform(self.high)
        return (self.transform(min(max(value, self.low), self.high)) - low) / (high - low)


def linear_axis(title: str, low: float, high: float) -> Axis:
    """An axis with round ticks."""
    if high <= low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = _round_step((high - low) / MAX_TICKS)
    count = math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1
    values = [round((math.ceil(low / step - 1e-9) + index) * step, 12) for index in range(count)]
    return Axis(title, low, high, [(value, f"{value:g}") for value in values])


def log_axis(title: str, low: float, high: float) -> Axis:
    """A logarithmic axis of positive values, with ticks at 1, 2 and 5 times powers of ten."""
    low, high = low / 1.1, high * 1.1
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [value for value in values if low <= value <= high]
        if len(ticks) <= MAX_TICKS:
            break
    return Axis(title, low, high, [(value, f"{value:.6g}") for value in ticks], math.log10)


def logit_axis(title: str, low: float, high: float) -> Axis:
    """A logit axis for probabilities, which magnifies values near 0 and 1."""
    values = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
    ticks = [(value, f"{100 * value:g} %") for value in values if low <= value <= high]
    return Axis(title, low, high, ticks, lambda value: math.log(value / (1 - value)))


def _round_step(size: float) -> float:
    """The smallest of 1, 2 or 5 times a power of ten that is not below `size`."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * (1 - 1e-9))


@dataclass(frozen=True)
class Plot:
    """The area between two axes, in which marks are drawn."""

    x: Axis
    y: Axis

    def line(self, points: Iterable[Point], kind: str, tip: str = "") -> str:
        """A line through points; with a tip, it shows the tip when it is pointed at."""
        path = f'<path class="{kind}" d="{self._path(points)}"/>'
        if not tip:
            return path
        hit = path.replace(f'class="{kind}"', 'class="hit"')
        return f'<g class="tipped" data-tip="{escape(tip)}">{hit}{path}</g>'

    def band(self, lower: Sequence[Point], upper: Sequence[Point], kind: str) -> str:
        """The area between two lines."""
        return f'<path class="band {kind}" d="{self._path([*lower, *reversed(upper)])}Z"/>'

    def dot(self, point: Point, kind: str, radius: float, tip: str) -> str:
        """A dot that shows a tip when it is pointed at."""
        x, y = self._position(point)
        place = f'cx="{x:.2f}%" cy="{y:.2f}%" r="{radius:.1f}"'
        return f'<circle class="{kind}" {place} data-tip="{escape(tip)}"/>'

    def draw(self, lines: str, dots: str, description: str) -> str:
        """The chart with its axes; `lines` and `dots` are marks, and the description is read by screen readers."""
        grid, texts = [], []
        for value, text in self.x.ticks:
            x = 100 * self.x.at(value)
            grid.append(f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="100%"/>')
            texts.append(f'<text x="{x:.2f}%" y="100%" dy="1.4em" text-anchor="middle">{text}</text>')
        for value, text in self.y.ticks:
            y = 100 - 100 * self.y.at(value)
            grid.append(f'<line class="grid" y1="{y:.2f}%" y2="{y:.2f}%" x1="0" x2="100%"/>')
            texts.append(f'<text x="0" y="{y:.2f}%" dx="-.5em" dy=".35em" text-anchor="end">{text}</text>')
        stretched = f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">{lines}</svg>'
        return (
            f'<div class="axis" aria-hidden="true">{escape(self.y.title)}</div>'
            f'<svg class="plot" role="img" aria-label="{escape(description)}">'
            f"{''.join(grid)}{stretched}{dots}{''.join(texts)}</svg>"
            f'<div class="axis x" aria-hidden="true">{escape(self.x.title)}</div>'
        )

    def _position(self, point: Point) -> Point:
        return 100 * self.x.at(point[0]), 100 - 100 * self.y.at(point[1])

    def _path(self, points: Iterable[Point]) -> str:
        return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in map(self._position, points))
