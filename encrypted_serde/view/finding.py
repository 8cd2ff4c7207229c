"""Searching decrypted values for a text: what is stored about a person, say."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .execution import is_internal
from .model import Occurrence, Refused
from .source import Source
from .stored import StoredHead, StoredItem, StoredValue, StoredWrite
from .values import Value, texts

_AROUND = 60  # characters of an excerpt on either side


@dataclass(frozen=True, slots=True)
class Findings:
    """Where a text occurs.

    Attributes:
        occurrences: The places, those of one channel together.
        searched: How many rows were searched.
        refused: How many were not, by why: they do not open.
        other_contexts: How many belong to another context than the one that is looked at.
    """

    occurrences: tuple[Occurrence, ...]
    searched: int
    refused: Mapping[str, int]
    other_contexts: int


def find(source: Source, text: str) -> Findings:
    """Searches every row.

    Args:
        source: The database.
        text: What to look for. Case, and how an accent is encoded, make no difference.
    """
    wanted = _folded(text)
    found: dict[tuple[Any, ...], Occurrence] = {}
    refused: Counter[str] = Counter()
    searched = others = 0
    for kind, row in source.everything():
        reason = _reason(row)
        if reason is not None:
            others += reason.error == "WrongContext"
            refused[str(reason)] += reason.error != "WrongContext"
            continue
        searched += 1
        for where, place, number, value in _values(kind, row):
            excerpt = _excerpt(value, wanted) or _excerpt_of((*place.values(),), wanted)
            if excerpt:
                _add(found, Occurrence(where, place, 1, number, number, excerpt, value))
    return Findings(tuple(found.values()), searched, {name: count for name, count in refused.items() if count}, others)


def _add(found: dict[tuple[Any, ...], Occurrence], one: Occurrence) -> None:
    slot = (one.where, *one.place.items())
    before = found.get(slot)
    if before is None:
        found[slot] = one
        return
    newer = one if one.last >= before.last else before
    found[slot] = replace(
        newer, checkpoints=before.checkpoints + 1, first=min(before.first, one.first), last=max(before.last, one.last)
    )


def _reason(row: Any) -> Refused | None:
    if isinstance(row, StoredItem):
        return row.value if isinstance(row.value, Refused) else None
    last = row[-1].value if isinstance(row[-1], StoredWrite) else row[-1]
    return last if isinstance(last, Refused) else None


def _values(kind: str, row: Any) -> Iterator[tuple[str, dict[str, str], str, Value]]:
    """Returns the values of a row: where it is, its place, the checkpoint or version, and what it holds."""
    if isinstance(row, StoredItem):
        names = (*row.place[0].split("."), row.place[1]) if row.names is None else row.names
        if not isinstance(row.value, Refused):
            yield "item", {"namespace": ".".join(names[:-1]), "key": names[-1]}, "", row.value
        return
    thread = row[0]
    last = row[-1]
    if isinstance(last, StoredHead):
        spot = row[1]
        place = {"thread": thread, "checkpoint_ns": spot.namespace}
        yield "metadata", place, spot.id, last.metadata
        for name, value in last.inside.items():
            if not is_internal(name) or name == "__start__":
                yield "channel", {**place, "channel": name}, spot.id, value.read()
    elif isinstance(last, StoredWrite) and isinstance(last.value, StoredValue):
        place = {"thread": thread, "checkpoint_ns": row[1], "channel": last.channel}
        yield "write", place, last.checkpoint_id, last.value.read()
    elif isinstance(last, StoredValue):
        yield "channel", {"thread": thread, "checkpoint_ns": row[1], "channel": row[2]}, row[3], last.read()


def _excerpt(value: Value, wanted: str) -> str:
    return next((_around(text, wanted) for text in texts(value) if wanted in _folded(text)), "")


def _excerpt_of(names: tuple[str, ...], wanted: str) -> str:
    return next((name for name in names if wanted in _folded(name)), "")


def _around(text: str, wanted: str) -> str:
    start = max(0, _folded(text).find(wanted) - _AROUND)
    end = start + len(wanted) + 2 * _AROUND
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
