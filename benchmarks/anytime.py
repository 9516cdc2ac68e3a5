"""The accuracy of the submission on disk against the time since `submit` was started, for several versions."""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from competition.errors import UserError
from competition.views.report.svg import Axis, linear_axis

WRITTEN = re.compile(r" now blends (?P<members>.*) \(.*: (?P<percent>[\d.]+) ± [\d.]+ % out of fold")
WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 48
COLORS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce")


@dataclass(frozen=True)
class Submission:
    """A submission that replaced the one before."""

    minutes: float  # since the start of the command
    percent: float  # accuracy out of fold
    members: str


@dataclass(frozen=True)
class Curve:
    """All submissions of a run."""

    submissions: Sequence[Submission]
    minutes: float  # of the whole command


def run_submit(folder: Path, competition: str) -> Iterator[str]:
    """Run `submit` with its defaults in a clone that has an environment and no trained folds; yield its lines."""
    if not (folder / ".venv").exists() or not (folder / "data" / competition).exists():
        raise UserError(f"{folder} needs an environment and the data; run there: make data COMPETITION={competition}")
    if list((folder / "folds" / competition).glob("*-folds-seed-*")):
        raise UserError(f"{folder / 'folds' / competition} has a split, whose folds would not be trained again")
    python = folder.resolve() / ".venv" / "bin" / "python"
    command = [str(python), "-m", "competition", "submit", "--competition", competition]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise UserError(f"submit ended with status {process.returncode} in {folder}")


def record_curve(lines: Iterator[str]) -> Curve:
    """The curve of a run, from the times at which it prints its lines."""
    start = time.monotonic()
    submissions = []
    for line in lines:
        if match := WRITTEN.search(line):
            minutes = (time.monotonic() - start) / 60
            submissions.append(Submission(minutes, float(match["percent"]), match["members"]))
    if not submissions:
        raise UserError("no submission was written whose accuracy is known")
    return Curve(submissions, (time.monotonic() - start) / 60)


def draw(curves: Mapping[str, Curve]) -> str:
    """A chart of all curves as an SVG file of its own."""
    all_percent = [each.percent for curve in curves.values() for each in curve.submissions]
    margin = 0.1 * (max(all_percent) - min(all_percent)) + 0.005
    x = linear_axis("minutes since the start of make submit", 0.0, max(curve.minutes for curve in curves.values()))
    y = linear_axis("accuracy out of fold", min(all_percent) - margin, max(all_percent) + margin)
    marks = _grid(x, y)
    for index, (name, curve) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        marks += _draw_curve(name, curve, x, y, color)
        marks.append(_text(WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 12 - 18 * index, name, "end", f'fill="{color}"'))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13"'
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{background}\n' + "\n".join(marks) + "\n</svg>\n"


def _across(axis: Axis, minutes: float) -> float:
    return LEFT + axis.at(minutes) * (WIDTH - LEFT - RIGHT)


def _up(axis: Axis, percent: float) -> float:
    return HEIGHT - BOTTOM - axis.at(percent) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {style}>{escape(text)}</text>'


def _grid(x: Axis, y: Axis) -> list[str]:
    marks = [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.title)]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    marks.append(_text(16, middle, f"{y.title}, %", style=f'transform="rotate(-90 16 {middle})"'))
    for value, text in x.ticks:
        marks.append(_text(_across(x, value), HEIGHT - BOTTOM + 18, text))
    for value, text in y.ticks:
        at = _up(y, value)
        marks.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        marks.append(_text(LEFT - 6, at + 4, text, "end"))
    return marks


def _draw_curve(name: str, curve: Curve, x: Axis, y: Axis, color: str) -> list[str]:
    """The steps of a curve, the last of which lasts, with a dot and a tooltip at each submission."""
    path, marks = "", []
    for each in curve.submissions:
        at = f"{_across(x, each.minutes):.1f}", f"{_up(y, each.percent):.1f}"
        path += f"H{at[0]}V{at[1]}" if path else f"M{at[0]} {at[1]}"
        tip = escape(f"{name}: {each.members}, {each.percent:.3f} % after {each.minutes:.1f} minutes")
        marks.append(f'<circle cx="{at[0]}" cy="{at[1]}" r="4" fill="{color}"><title>{tip}</title></circle>')
    path += f"H{_across(x, x.high):.1f}"
    return [f'<path d="{path}" fill="none" stroke="{color}" stroke-width="2"/>', *marks]
