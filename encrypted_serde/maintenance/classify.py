"""How what is in a checkpoint and its metadata is stored, for reports: without a key."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..rows.manifest import KEY, LANGGRAPH_KEYS
from ..rows.parts import find_manifest
from ..rows.stored import PLAINTEXT, UNDECODABLE, Form
from ..wrapping.search import PREFIX as TOKEN_PREFIX
from .report import Seen
from .table import Row

_PLAIN = Form(PLAINTEXT)


def in_metadata(row: Row, column: str, metadata: object, readable_keys: Collection[str] | None) -> Iterator[Seen]:
    """Says what is in the metadata of a checkpoint: its manifest, and keys that are readable and need not be.

    Args:
        row: Theirs.
        column: Its table and column.
        metadata: As JSON gave it.
        readable_keys: Keys that may be readable, besides those that LangGraph needs; None where nobody asks about keys.
    """
    if not isinstance(metadata, Mapping):
        yield Seen(column, "metadata", Form(UNDECODABLE), 0, metadata)
        return
    found = find_manifest(metadata, row.part)
    has_manifest = found is not None
    if found is not None:
        yield Seen(column, "manifest", found.form, len(found.data), metadata[KEY])
    if readable_keys is None:
        return
    for name, value in metadata.items():
        if name in LANGGRAPH_KEYS or name in readable_keys or (name == KEY and has_manifest):
            continue
        if has_manifest and isinstance(value, str) and value.startswith(TOKEN_PREFIX):
            continue
        yield Seen(column, f"metadata key {name}", _PLAIN, len(json.dumps(value)), value)


def in_document(row: Row, column: str, document: Mapping[str, Any], what: str) -> Iterator[Seen]:
    """Says how the values in a checkpoint are stored.

    Args:
        row: Its row.
        column: Its table and column.
        document: The checkpoint.
        what: What its channel values are called.
    """
    values = document.get("channel_values") or {}
    sends = document.get("pending_sends") or ()
    if not isinstance(values, Mapping) or not isinstance(sends, (list, tuple)):
        yield Seen(column, "whole checkpoint", Form(UNDECODABLE), 0, document)
        return
    for name, parts in ((what, values.values()), ("pending send", sends)):
        for value in parts:
            if value is not None:
                found = row.part(value)
                yield Seen(column, name, found.form, len(value) if isinstance(value, str) else len(found.data), value)
