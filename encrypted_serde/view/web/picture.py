"""A history as a picture: one strip of SVG beside each checkpoint, which together are lines that part and join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..lanes import Drawn
from ..model import HistoryLine

ROW, STEP = 46, 16
"""Height of a row and width of a lane, in pixels."""

MAX_LANES = 12
_COLORS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """A line in a strip.

    Attributes:
        path: What SVG draws.
        color: Number of its color.
    """

    path: str
    color: int


@dataclass(frozen=True, slots=True)
class Strip:
    """What is drawn beside a checkpoint.

    Attributes:
        lines: Lines that pass, end and begin.
        x: Where its dot is.
        color: Number of the dot's color.
        shape: ``dot``, ``interrupt``, ``failed`` or ``refused``.
    """

    lines: tuple[Line, ...]
    x: int
    color: int
    shape: str


def draw(row: Drawn, line: HistoryLine) -> Strip:
    """Returns the strip of a checkpoint."""
    middle, x = ROW // 2, _x(row.lane)
    lines = [Line(f"M{_x(lane)} 0V{ROW}", lane % _COLORS) for lane in row.through]
    for lane in row.joins:
        start = _x(lane)
        bend = f"M{start} 0Q{start} {middle} {x} {middle}" if start != x else f"M{x} 0V{middle}"
        lines.append(Line(bend, lane % _COLORS))
    if row.goes_on:
        lines.append(Line(f"M{x} {middle}V{ROW}", row.lane % _COLORS))
    return Strip(tuple(lines), x, row.lane % _COLORS, _shape(line))


def width_of(rows: Sequence[Drawn]) -> int:
    """Returns how wide the strips of a page are."""
    return STEP * (min(MAX_LANES, max((row.width for row in rows), default=1)) + 1)


def _x(lane: int) -> int:
    return STEP * (min(lane, MAX_LANES - 1) + 1)


def _shape(line: HistoryLine) -> str:
    if line.refused is not None:
        return "refused"
    return "failed" if line.errors else "interrupt" if line.interrupts else "dot"
