"""Formats below 4 are plaintext history: read under a switch, and moved in after the migration that LangGraph itself makes."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.serde.types import TASKS as SENDS

from encrypted_serde import ConfigurationError, EncryptedSaver, PlaintextRefused
from encrypted_serde.maintenance import reencrypt, verify
from tests.maintenance.forms import NEW_KEY, open_saver
from tests.saver.threads import make_checkpoint

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "old", "checkpoint_ns": ""}}
TASK = "00000000-0000-4000-8000-00000000000a"


def _old(place: str, version: int, sends: list[str]) -> None:
    """Writes parent and child of a format. Sends are in the child (SQLite) or among the writes of the parent (Postgres)."""
    with open_saver(place) as plain:
        config = CONFIG
        for step in range(2):
            checkpoint: Any = {**make_checkpoint(step, {"log": [step]}, {"log": f"{step + 1:032}.0.5"}), "v": version}
            if step and ":" not in place:
                checkpoint["pending_sends"] = sends
            config = plain.put(config, checkpoint, {"source": "loop", "step": step}, checkpoint["channel_versions"])
            if not step and sends:
                plain.put_writes(config, [(SENDS, send) for send in sends], TASK, "~a")


def _newest(place: str, **switches: bool) -> Any:
    with open_saver(place) as inner:
        found = EncryptedSaver(inner, NEW_KEY, **switches).get_tuple(CONFIG)
        assert found is not None
        return found.checkpoint


# rule F-36
@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("sends", [[], ["first", "second"]], ids=["no sends", "sends"])
def test_an_old_format_is_read_as_the_plain_saver_reads_it_and_moves_in(place: str, version: int, sends: list[str]) -> None:
    _old(place, version, sends)
    with open_saver(place) as plain:
        before: Any = plain.get_tuple(CONFIG).checkpoint  # type: ignore[union-attr]
    with pytest.raises(PlaintextRefused):
        _newest(place)
    assert _newest(place, allow_plaintext=True) == before
    done = reencrypt(place, NEW_KEY, allow_plaintext=True)
    assert (done.failures, done.left) == ([], 0)
    assert verify(place, NEW_KEY).failures == []
    after = _newest(place)
    assert after["channel_values"] == {"log": [1], **({SENDS: sends} if sends else {})}
    assert after["v"] == (4 if sends or version == 3 else version)
    assert not after.get("pending_sends")
    if sends:
        assert after["channel_versions"][SENDS] == max(after["channel_versions"].values())


# rule F-36
def test_a_checkpoint_with_pending_sends_is_not_sealed(place: str) -> None:
    with open_saver(place) as inner:
        checkpoint: Any = {**make_checkpoint(0, {}, {}), "v": 3, "pending_sends": ["a send"]}
        with pytest.raises(ConfigurationError, match="format below 4"):
            EncryptedSaver(inner, NEW_KEY).put(CONFIG, checkpoint, {"source": "loop", "step": 1}, {})
