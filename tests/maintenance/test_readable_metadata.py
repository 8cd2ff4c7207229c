"""Metadata that LangGraph and retention read in the database stay readable; where they are not, everybody says so."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from encrypted_serde import ConfigurationError, EncryptedSaver, Keyring
from encrypted_serde.maintenance import expire, reencrypt, verify
from encrypted_serde.rows.manifest import KEY
from tests.maintenance import sql
from tests.maintenance.forms import BOTH, NEW_KEY, OLD_KEY, config_of, delta_graph, open_saver

CONFIG = config_of("1")


def _live(place: str, key: Any, turns: int = 3) -> None:
    with open_saver(place) as inner:
        graph = delta_graph(EncryptedSaver(inner, key))
        for turn in range(turns):
            graph.invoke({"log": [f"turn {turn}"], "messages": []}, CONFIG)


def _seen(place: str, key: Any) -> dict[str, Any]:
    with open_saver(place) as inner:
        saver = EncryptedSaver(inner, Keyring(primary=key))
        found = {source: len([*saver.list(CONFIG, filter={"source": source})]) for source in ("input", "loop")}
        return {
            **found,
            "metadata": [row.metadata for row in saver.list(CONFIG)],
            "state": delta_graph(saver).get_state(CONFIG),
        }


def _readable(place: str) -> list[dict[str, Any]]:
    rows = sql.run(place, "SELECT metadata FROM checkpoints ORDER BY checkpoint_id")
    documents = [stored if isinstance(stored, dict) else json.loads(stored) for (stored,) in rows]
    return [{name: value for name, value in document.items() if name != KEY} for document in documents]


def test_a_rotation_leaves_readable_what_langgraph_reads(place: str) -> None:
    _live(place, OLD_KEY)
    before, stored = _seen(place, OLD_KEY), _readable(place)
    assert reencrypt(place, BOTH).failures == []
    assert _seen(place, NEW_KEY) == before
    assert _readable(place) == stored
    assert any("counters_since_delta_snapshot" in row for row in stored)


def test_rows_that_never_had_such_metadata_are_sealed_anew_once(place: str) -> None:
    with open_saver(place) as inner:
        checkpoint = empty_checkpoint()
        checkpoint["v"] = 4
        saver = EncryptedSaver(inner, OLD_KEY)
        saver.put({"configurable": {"thread_id": "1", "checkpoint_ns": ""}}, checkpoint, {}, {})  # type: ignore[typeddict-item]
    assert reencrypt(place, BOTH).rewritten == 1
    assert reencrypt(place, BOTH).rewritten == 0
    assert verify(place, NEW_KEY).failures == []


@pytest.mark.parametrize(("readable", "searchable"), [(["team"], ["team"]), ([KEY], []), ([], [KEY]), ("team", [])])
def test_keys_of_metadata_that_the_saver_would_refuse_are_refused(readable: Any, searchable: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=r"reserved name|several names"):
        reencrypt("nothing.sqlite", NEW_KEY, readable_metadata=readable, searchable_metadata=searchable)


def test_a_value_of_metadata_is_no_key_of_them(place: str) -> None:
    with open_saver(place) as inner:
        for thread, value in (("1", KEY), ("2", "counters_since_delta_snapshot")):
            checkpoint = empty_checkpoint()
            checkpoint["v"] = 4
            metadata: Any = {"source": "loop", "step": 1, "note": value, "inner": {value: 1}}
            inner.put({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, checkpoint, metadata, {})
    done = expire(place, datetime.now(timezone.utc))
    assert (done.gone, done.delta_threads, done.failures) == (2, [], [])
