"""A database with what is edited, and what there is to edit in it."""

from __future__ import annotations

from typing import Any

from encrypted_serde import Key
from tests.verdicts import attacked
from tests.verdicts.edits.table import Target
from tests.verdicts.rows import Place, Rows


def prepare(store: Any) -> tuple[Rows, Target]:
    """Writes what is edited.

    Returns:
        The rows, and what there is to edit in them.
    """
    own, store.key = store.key, Key.generate()
    stranger = _newest_of_one(store)
    store.key = own
    tenant = _newest_of_one(store, context={"tenant_id": "acme"})
    store.home.clear()
    places = attacked.write(store.saver())
    first, old, here = places["one", ""]
    return store.load(), Target(here, old, first, places["two", ""][1], places["one", "child"][0], stranger, tenant)


def _newest_of_one(store: Any, **options: Any) -> tuple[Rows, Place]:
    store.home.clear()
    places = attacked.write(store.saver(**options))
    return store.load(), places["one", ""][2]
