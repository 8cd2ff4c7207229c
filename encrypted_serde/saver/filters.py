"""Answering ``list(filter=, before=, limit=)`` as the plain saver would, although most metadata cannot be read in the database.

What can be compared there is: readable keys by value, searchable keys by token. The rest is compared here, after opening
the metadata, page by page, so that ``limit=1`` does not read a whole thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import CheckpointTuple

from ..core.context import EncryptionContext
from ..core.keys import Key
from ..errors import WrongLocation
from ..wrapping.search import is_searchable, search_token
from .manifest import survives_json

_FIRST_PAGE = 16
_LARGEST_PAGE = 1024


class Plan(NamedTuple):
    """How one filter is answered.

    Attributes:
        pushed: Filters for the inner saver, whose answers are merged: one per key that rows may have been written under.
        rest: What is left to compare after opening.
    """

    pushed: list[dict[str, Any]]
    rest: dict[str, Any]


def plan(
    wanted: Mapping[str, Any] | None,
    *,
    readable_keys: Collection[str],
    searchable_keys: Collection[str],
    keys: Sequence[Key],
    context: EncryptionContext,
    contains: bool,
) -> Plan:
    """Divides a filter.

    Args:
        wanted: The filter, as the caller gave it.
        readable_keys: Metadata keys that are readable in the database.
        searchable_keys: Metadata keys that have tokens there.
        keys: The keys that tokens may have been made with; empty where tokens cannot be used.
        context: The encryption context of the tokens.
        contains: Whether filters mean containment, see `matches`.
    """
    readable: dict[str, Any] = {}
    tokens: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, value in (wanted or {}).items():
        if name in readable_keys and _is_scalar(value) and survives_json(value):
            readable[name] = value
        elif name in searchable_keys and keys and is_searchable(value) and (contains or value not in (0, 1)):
            # Where filters mean equality, True is found as 1: there these are compared after opening.
            tokens[name] = value
        else:
            rest[name] = value
    if not tokens:
        return Plan([readable], rest)
    pushed = [{**readable, **{name: search_token(key, name, context, value) for name, value in tokens.items()}} for key in keys]
    return Plan(pushed, rest)


def check_answer(metadata: Mapping[str, Any], wanted: Mapping[str, Any] | None, *, contains: bool) -> None:
    """Compares what was opened with the filter once more: the database may have been made to answer it wrongly.

    Keys with a dot are left out; SQLite takes them for a path into nested metadata.

    Raises:
        WrongLocation: If the row does not match.
    """
    plain = {name: value for name, value in (wanted or {}).items() if "." not in name}
    if not matches(metadata, plain, contains=contains):
        raise WrongLocation("the database answered a filter with a row that does not match it")


def matches(metadata: Mapping[str, Any], wanted: Mapping[str, Any], *, contains: bool) -> bool:
    """Compares metadata with a filter.

    Args:
        metadata: All of it, opened.
        wanted: The filter.
        contains: As ``jsonb @>`` does; by equality otherwise.
    """
    if contains:
        return _contains(dict(metadata), dict(wanted))
    return all(metadata.get(name) == value for name, value in wanted.items())


def _contains(document: Any, wanted: Any) -> bool:
    """``document @> wanted`` of Postgres (its documentation, section 8.14.3), for what JSON can hold."""
    if isinstance(wanted, Mapping):
        return isinstance(document, Mapping) and all(
            name in document and _contains(document[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return isinstance(document, (list, tuple)) and all(any(_contains(item, value) for item in document) for value in wanted)
    if isinstance(wanted, bool) or isinstance(document, bool):
        return document is wanted
    return bool(document == wanted)


def _is_scalar(value: object) -> bool:
    return value is not None and isinstance(value, (str, int, float, bool))


class Pager:
    """Walks through rows that come newest first, a page at a time, so that nothing of the inner saver stays open meanwhile.

    Rows of different threads or namespaces may share a checkpoint id, and ``before`` excludes the id it names. So the rows
    with the last id of a full page are held back, and begin the next page.

    Args:
        before: Start below this checkpoint id; None for the newest.

    Attributes:
        before: Where the next page starts.
        size: How many rows to ask for.
        done: Whether the last page was fed.
    """

    def __init__(self, before: str | None) -> None:
        self.before = before
        self.size = _FIRST_PAGE
        self.done = False

    def feed(self, page: Sequence[CheckpointTuple]) -> Sequence[CheckpointTuple]:
        """Takes a page and gives the rows of it that are to be used now."""
        if len(page) < self.size:
            self.done = True
            return page
        last = _checkpoint_id(page[-1])
        kept = [found for found in page if _checkpoint_id(found) != last]
        if kept:
            self.before = _checkpoint_id(kept[-1])
            self.size = min(self.size * 4, _LARGEST_PAGE)
        else:
            self.size *= 4
        return kept


def merge(answers: Sequence[Sequence[CheckpointTuple]]) -> list[CheckpointTuple]:
    """Merges answers that came newest first into one that does."""
    return sorted((found for answer in answers for found in answer), key=_checkpoint_id, reverse=True)


def _checkpoint_id(found: CheckpointTuple) -> str:
    return str(found.config["configurable"]["checkpoint_id"])
