"""Whatever a thread was written by, after `reencrypt` it replays as it did, under the one key that is left."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver

from encrypted_serde import EncryptedSaver, EncryptedSerializer, Key, encryption_context
from encrypted_serde.maintenance import Selection, reencrypt, scan
from tests.maintenance.forms import (
    BOTH,
    EVERYTHING,
    FORMS,
    NEW_KEY,
    OLD_KEY,
    assert_same,
    config_of,
    delta_graph,
    open_saver,
    replay,
    replay_strictly,
    write_every_form,
)

SOME = {name: FORMS[name] for name in ("plaintext", "serde-old-key", "saver-old-key")}


def problems_of(place: str, key: Key = NEW_KEY, **options: Any) -> dict[str, int | None]:
    found = scan(place, current_keys=[key.id.hex()], **options).problems()
    return {kind: number for kind, number in found.items() if number}


def test_every_form_becomes_bound_and_replays_the_same(place: str) -> None:
    before = write_every_form(place)
    done = reencrypt(place, BOTH, **EVERYTHING)
    assert done.failures == []
    assert done.left == 0
    assert problems_of(place) == {}
    assert_same(replay_strictly(place), before)


def test_a_second_run_finds_nothing_to_do(place: str) -> None:
    write_every_form(place)
    reencrypt(place, BOTH, **EVERYTHING)
    again = reencrypt(place, BOTH, **EVERYTHING)
    assert (again.rewritten, again.failed, again.left) == (0, 0, 0)


def test_every_form_goes_back_to_plaintext_and_replays_the_same(place: str) -> None:
    before = write_every_form(place)
    done = reencrypt(place, BOTH, **EVERYTHING, target="plaintext")
    assert (done.failures, done.left) == ([], 0)
    assert {line.kind for line in scan(place).tally.lines} <= {"plaintext", "no manifest"}
    with open_saver(place) as saver:
        assert_same({name: replay(saver, name) for name in FORMS}, before)


def test_every_form_becomes_what_serde_alone_writes(place: str) -> None:
    before = write_every_form(place)
    done = reencrypt(place, BOTH, **EVERYTHING, target="serde")
    assert (done.failures, done.left) == ([], 0)
    with open_saver(place) as saver:
        saver.serde = EncryptedSerializer(NEW_KEY)
        assert_same({name: replay(saver, name) for name in FORMS}, before)


def test_there_and_back_again_ends_bound(place: str) -> None:
    before = write_every_form(place, SOME)
    for target in ("saver", "plaintext", "saver", "serde", "saver"):
        assert reencrypt(place, BOTH, **EVERYTHING, target=target).left == 0
    assert problems_of(place) == {}
    assert_same(replay_strictly(place, SOME), before)


@pytest.mark.parametrize(("cipher", "compression"), [("aes-256-gcm", "zstd"), ("aes-256-eax", "none")])
def test_cipher_and_compression_change_where_they_are_named(place: str, cipher: str, compression: str) -> None:
    before = write_every_form(place)
    done = reencrypt(place, BOTH, **EVERYTHING, cipher=cipher, compression=compression)
    assert (done.failures, done.left) == ([], 0)
    lines = scan(place).tally.lines
    assert {line.cipher for line in lines} == {cipher}
    assert any(line.compressed for line in lines) == (compression == "zstd")
    assert_same(replay_strictly(place), before)
    assert reencrypt(place, BOTH, **EVERYTHING, cipher=cipher, compression=compression).rewritten == 0


def test_a_thread_that_was_re_encrypted_goes_on(place: str) -> None:
    write_every_form(place, SOME)
    reencrypt(place, BOTH, **EVERYTHING)
    with open_saver(place) as plain:
        graph = delta_graph(_strict(plain))
        for name in SOME:
            config = config_of(f"{name}/delta")
            length = len(graph.get_state(config).values["log"])
            graph.invoke({"log": ["one more"], "messages": [HumanMessage("again")]}, config)
            assert graph.get_state(config).values["log"][length] == "one more"
    assert problems_of(place) == {}


def test_search_tokens_follow_the_key(place: str) -> None:
    write_every_form(place, {"saver-old-key": FORMS["saver-old-key"]})
    options = {"searchable_metadata": ["user_email"]}
    reencrypt(place, BOTH, **EVERYTHING, **options)
    with open_saver(place) as plain, encryption_context():
        found = [*_strict(plain, **options).list(None, filter={"user_email": "ann@example.org"})]
        everything = [*_strict(plain, **options).list(None)]
    assert len(found) == len(everything) > 0


def test_a_context_is_given_to_what_has_none_and_kept_where_there_is_one(place: str) -> None:
    with open_saver(place) as plain:
        delta_graph(plain).invoke({"log": ["a"], "messages": []}, config_of("plain"))
    with open_saver(place) as plain, encryption_context(tenant_id="acme"):
        plain.serde = EncryptedSerializer(BOTH)
        delta_graph(plain).invoke({"log": ["a"], "messages": []}, config_of("acme"))
    tenants = {"plain": "umbrella", "acme": "acme"}
    assert reencrypt(place, BOTH, **EVERYTHING, context=lambda thread: {"tenant_id": tenants[thread]}).left == 0
    with open_saver(place) as plain:
        for thread, tenant in tenants.items():
            with encryption_context(tenant_id=tenant):
                assert delta_graph(_strict(plain)).get_state(config_of(thread)).values["log"][0] == "a"


def test_only_the_named_threads_are_touched(place: str) -> None:
    write_every_form(place, SOME)
    done = reencrypt(place, BOTH, **EVERYTHING, selection=Selection(threads=["plaintext/delta"]))
    assert done.left == 0
    assert problems_of(place, selection=Selection(threads=["plaintext/delta"])) == {}
    assert problems_of(place, selection=Selection(threads=["plaintext/asked"]))["plaintext"] > 0


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(place: str) -> None:
    before = write_every_form(place, SOME)
    found = scan(place).tally.lines
    dry = reencrypt(place, BOTH, **EVERYTHING, dry_run=True)
    assert scan(place).tally.lines == found
    assert dry.left == dry.rewritten > 0
    assert reencrypt(place, BOTH, **EVERYTHING).rewritten == dry.rewritten
    assert_same(replay_strictly(place, SOME), before)


def _strict(plain: BaseCheckpointSaver, **options: Any) -> Any:
    return EncryptedSaver(plain, NEW_KEY, **options)


@pytest.mark.parametrize("target", ["saver", "plaintext", "serde"])
def test_a_none_that_an_older_postgres_saver_sealed_stays_none(postgres_url: str, target: str) -> None:
    """Before scalars were inlined, None had a row of its own, which encrypting serializers sealed."""
    values, versions = {"a": None, "b": [1]}, {"a": "1", "b": "1"}
    checkpoint = {"v": 4, "id": "1", "ts": "", "channel_values": values, "channel_versions": versions, "versions_seen": {}}
    config = {"configurable": {"thread_id": "one", "checkpoint_ns": ""}}
    with open_saver(postgres_url) as plain:
        plain.serde = EncryptedSerializer(OLD_KEY)
        plain.put(config, checkpoint, {"source": "loop", "step": 0}, versions)
        plain.conn.execute("UPDATE checkpoints SET checkpoint = checkpoint #- '{channel_values,a}'")
        sealed = plain.serde.dumps_typed(None)
        plain.conn.execute("INSERT INTO checkpoint_blobs VALUES ('one', '', 'a', '1', %s, %s)", sealed)
    done = reencrypt(postgres_url, BOTH, **EVERYTHING, target=target)
    assert (done.failed, done.left) == (0, 0)
    with open_saver(postgres_url) as plain:
        plain.serde = EncryptedSerializer(NEW_KEY) if target == "serde" else plain.serde
        saver = _strict(plain) if target == "saver" else plain
        assert saver.get_tuple(config).checkpoint["channel_values"] == values
