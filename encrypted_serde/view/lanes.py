"""A history as lines that part where somebody went back and on another way: which checkpoint is drawn in which lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Spot


@dataclass(frozen=True, slots=True)
class Drawn:
    """A checkpoint in a picture of its history, in which the newest is at the top.

    Attributes:
        spot: The checkpoint.
        lane: Its lane, counted from the left.
        through: Lanes that pass it.
        joins: Lanes of its children, which end in it; its own among them if a child is in that.
        goes_on: Whether its lane leads on to its parent.
    """

    spot: Spot
    lane: int
    through: tuple[int, ...]
    joins: tuple[int, ...]
    goes_on: bool

    @property
    def width(self) -> int:
        """How many lanes it needs."""
        return max((self.lane, *self.through, *self.joins)) + 1


def lay_out(spots: Sequence[Spot]) -> list[Drawn]:
    """Returns a row for every checkpoint of a thread, given the newest first. Namespaces have lanes of their own."""
    places = {(spot.namespace, spot.id): number for number, spot in enumerate(spots)}
    waiting: list[tuple[str, str] | None] = []
    rows = []
    for number, spot in enumerate(spots):
        joins = tuple(lane for lane, wanted in enumerate(waiting) if wanted == (spot.namespace, spot.id))
        lane = joins[0] if joins else _free(waiting)
        for each in joins:
            waiting[each] = None
        through = tuple(each for each, wanted in enumerate(waiting) if wanted is not None)
        parent = (spot.namespace, spot.parent)
        goes_on = places.get(parent, -1) > number
        waiting[lane] = parent if goes_on else None
        while waiting and waiting[-1] is None:
            waiting.pop()
        rows.append(Drawn(spot, lane, through, joins, goes_on))
    return rows


def _free(waiting: list[tuple[str, str] | None]) -> int:
    for lane, wanted in enumerate(waiting):
        if wanted is None:
            return lane
    waiting.append(None)
    return len(waiting) - 1
