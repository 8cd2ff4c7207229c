"""What is written to channels and metadata: whatever every saver can store and give back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, HumanMessage

TEXTS = ("", "a", "note", "es1.not sealed", "es1s.neither", "ünïcødé 🙂", "line\nbreak", "x" * 3000)
SCALARS = (0, 1, -1, 2**53 + 1, 2**62, True, False, 0.5, -1e-300, 3.0, *TEXTS)
OBJECTS = (
    b"",
    b"\xc1ES1 no value of ours",
    (1, "two"),
    {1, 2},
    frozenset({"x"}),
    {"a": {"b": [1, None, {"c": b"bytes"}]}},
    {},
    [],
    [None],
    datetime(2026, 11, 27, tzinfo=timezone.utc),
    timedelta(days=1),
    Decimal("1.10"),
    UUID("00000000-0000-4000-8000-000000000001"),
    HumanMessage("hello", id="m-1"),
)
METADATA = ("alice", "bob", "", "es1.text", 0, 1, True, False, 1.5, None)
"""Values of the application's own metadata keys."""


def anything(rng: Random) -> Any:
    """Draws a value of a channel that takes all."""
    kind = rng.random()
    if kind < 0.1:
        return None
    return rng.choice(SCALARS) if kind < 0.6 else rng.choice(OBJECTS)


def value(rng: Random, kind: str) -> Any:
    """Draws what a node writes to a channel of a kind (see `shapes.KINDS`)."""
    if kind in ("add", "delta"):
        return [anything(rng) for _ in range(rng.choice((0, 1, 1, 2)))]
    if kind == "sum":
        return rng.randint(-3, 3)
    if kind == "messages":
        message = rng.choice((HumanMessage, AIMessage))
        return [message(rng.choice(TEXTS), id=f"m-{rng.randint(1, 4)}")]
    return anything(rng)


def update(rng: Random, keys: dict[str, str]) -> dict[str, Any]:
    """Draws an update of some of the keys of a state."""
    return {name: value(rng, kind) for name, kind in keys.items() if rng.random() < 0.6}


def metadata(rng: Random) -> dict[str, Any]:
    """Draws the application's own metadata of a run."""
    return {name: rng.choice(METADATA) for name in ("author", "team", "topic") if rng.random() < 0.7}
