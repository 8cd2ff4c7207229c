"""Values as one line or a few: for lists, for terminals, for pages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from .printable import one_line, printable, size_text
from .values import Binary, Fields, Object, Opaque, Scalar, Sequence, Value, as_json

MAX_TEXT = 2000
"""Characters of a text that is not shown whole."""

MAX_PARTS = 50
"""Entries of a list or a dict that is not shown whole."""


MAX_ALL = 2000
"""Parts of a value, at all levels together, that is not shown whole."""


def trimmed(value: Value) -> Value:
    """Returns the beginning of a value: lists in lists in lists would make a page without end."""
    return _Trimming().trimmed(value)


class _Trimming:
    def __init__(self) -> None:
        self._left = MAX_ALL

    def trimmed(self, value: Value) -> Value:
        """Returns a value with as many parts as are left."""
        self._left -= 1
        if isinstance(value, Object):
            return replace(value, content=self.trimmed(value.content))
        if isinstance(value, Sequence):
            return Sequence(tuple(self._some(value.items)))
        if isinstance(value, Fields):
            items = [*self._some([item for _, item in value.pairs])]
            return Fields(tuple(zip([key for key, _ in value.pairs], items, strict=False)))
        return value

    def _some(self, items: Collection[Value]) -> Iterator[Value]:
        for number, item in enumerate(items):
            if self._left <= 0:
                yield Opaque(f"{len(items) - number:,} more", 0)
                return
            yield self.trimmed(item)


def short(value: Value, limit: int | None = None) -> str | None:
    """Returns a value on one line; None if that would take more characters than a limit."""
    if isinstance(value, Opaque):
        text = f"<{value.what}{', ' + size_text(value.size) if value.size else ''}>"
    elif isinstance(value, Binary):
        text = f"<{size_text(len(value.data))}>"
    elif isinstance(value, Scalar):
        text = value.value if isinstance(value.value, str) else json.dumps(as_json(value))
    elif isinstance(value, Object) and isinstance(value.content, Scalar):
        text = f"{value.short_name}({value.content.value})"
    else:
        text = json.dumps(as_json(value), ensure_ascii=False)
    if limit is not None and (len(text) > limit or "\n" in text):
        return None
    return one_line(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}... ({text_size(text)})")


def text_size(text: str) -> str:
    """Returns the size of a text as people write it."""
    return size_text(len(text.encode("utf-8", "replace")))


def cut(text: str) -> str:
    """Returns the first `MAX_TEXT` characters of a text, made printable."""
    return printable(text[:MAX_TEXT])


def time_text(time: str | None) -> str:
    """Returns a time without the parts of a second."""
    return "" if time is None else one_line(time[:19].replace("T", " "))


def pairs_text(pairs: Mapping[str, str] | None) -> str:
    """Returns an encryption context as people write it."""
    return one_line(", ".join(f"{name}={value}" for name, value in (pairs or {}).items()))
