"""`open_view`: threads, histories and checkpoints as data, verified, compared with what the application sees."""

from __future__ import annotations

import warnings
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from encrypted_serde import ConfigurationError, EncryptedSaver, EncryptedStore, Key, encryption_context
from encrypted_serde.audit import AuditEvent
from encrypted_serde.maintenance import DatabaseFailed
from encrypted_serde.view import Checkpoint, NotFound, Search, Thread, as_json, open_view
from tests.maintenance import sql
from tests.maintenance.forms import FORMS, OLD_KEY, config_of, delta_graph, open_saver, replay, write_every_form
from tests.saver.graphs import answer, run_until_asked, whole_graph

FORM = {"saver-old-key": FORMS["saver-old-key"]}
ASKED, DELTA = "saver-old-key/asked", "saver-old-key/delta"


@pytest.fixture
def written(place: str) -> str:
    write_every_form(place, FORM)
    return place


@pytest.fixture
def anywhere(request: pytest.FixtureRequest, place: str) -> str:
    return place


def state_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return {each.name: as_json(each.value) for each in checkpoint.channels if each.value is not None}


def test_threads_are_listed_newest_first_with_their_checkpoints(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        page = view.threads()
        assert [line.id for line in page.lines] == [DELTA, ASKED]
        assert [line.checkpoints for line in page.lines] == [10, 8]
        assert (page.total, page.after) == (2, "")
        assert all(line.refused is None and line.time for line in page.lines)


def test_a_state_is_field_by_field_what_the_application_sees(written: str) -> None:
    with open_saver(written) as plain:
        saver = EncryptedSaver(plain, OLD_KEY)
        states = [*whole_graph(saver).get_state_history(config_of(ASKED))]
        with open_view(written, OLD_KEY) as view:
            thread = view.thread(ASKED)
            for state in states:
                configurable = state.config["configurable"]
                found = thread.checkpoint(configurable["checkpoint_id"], configurable["checkpoint_ns"])
                shown = {name: part for name, part in state_of(found).items() if name in state.values}
                assert shown == {name: part for name, part in state.values.items() if name in shown or part != []}
                assert as_json(found.metadata) | {"thread_id": ASKED} == {**state.metadata, "thread_id": ASKED}
                assert sorted(found.next) == sorted(state.next)
                assert found.line.time == state.created_at


def test_the_history_holds_every_checkpoint_of_every_namespace(written: str) -> None:
    with open_saver(written) as plain:
        listed = [*EncryptedSaver(plain, OLD_KEY).list({"configurable": {"thread_id": ASKED}})]
    with open_view(written, OLD_KEY) as view:
        lines = [*view.thread(ASKED).history()]
    expected = {(each.config["configurable"]["checkpoint_ns"], each.config["configurable"]["checkpoint_id"]) for each in listed}
    assert {(line.spot.namespace, line.spot.id) for line in lines} == expected
    assert [line.interrupts for line in lines] == [1] + [0] * 7
    assert not any(line.refused for line in lines)


def test_a_history_names_the_nodes_that_edges_start(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        lines = [line.next for line in view.thread(ASKED).history() if not line.spot.namespace]
    # What `Send` starts is known from the row alone on SQLite, where it holds all values.
    assert [names for names in lines if names and "work" not in names] == [("ask",), ("child",), ("plan",), ("__start__",)]


def test_shallow_savers_are_shown_too(postgres_url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are deprecated
        from langgraph.checkpoint.postgres.shallow import ShallowPostgresSaver

        with psycopg.connect(postgres_url, autocommit=True, prepare_threshold=0, row_factory=dict_row) as connection:
            saver = ShallowPostgresSaver(connection)
            saver.setup()
            run_until_asked(EncryptedSaver(saver, OLD_KEY), config_of(ASKED))
    with open_view(postgres_url, OLD_KEY) as view:
        found = view.thread(ASKED).latest()
        assert [line.refused for line in view.thread(ASKED).history()] == [None, None]
    assert found.next == ("ask",)
    assert state_of(found)["question"] == "why"


def test_pending_writes_are_those_that_the_saver_returns(written: str) -> None:
    with open_saver(written) as plain:
        pending = {
            each.config["configurable"]["checkpoint_id"]: [write[:2] for write in each.pending_writes or ()]
            for each in EncryptedSaver(plain, OLD_KEY).list({"configurable": {"thread_id": ASKED}})
        }
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(ASKED)
        for spot in thread.spots:
            found = thread.checkpoint(spot.id, spot.namespace)
            assert [(write.task, write.channel) for write in found.writes] == pending[spot.id]


def test_a_delta_channel_is_put_together_from_its_snapshot_and_the_writes_since(written: str) -> None:
    with open_saver(written) as plain:
        states = [*delta_graph(EncryptedSaver(plain, OLD_KEY)).get_state_history(config_of(DELTA))]
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(DELTA)
        replayed = []
        for state in states:
            channel = thread.checkpoint(state.config["configurable"]["checkpoint_id"]).channel("log")
            assert (as_json(channel.value) if channel and channel.value else []) == state.values["log"]
            replayed.append(None if channel is None else channel.replayed)
    assert None in replayed
    assert any(replayed)


def test_a_delta_channel_over_a_changed_checkpoint_stays_hidden(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(DELTA)
        spot = next(spot for spot in thread.spots if (found := thread.checkpoint(spot.id).channel("log")) and found.replayed)
    sql.run(written, "UPDATE checkpoints SET parent_checkpoint_id = 'x' WHERE checkpoint_id = ?", spot.parent)
    with open_view(written, OLD_KEY) as view:
        channel = view.thread(DELTA).checkpoint(spot.id).channel("log")
    assert channel is not None
    assert (channel.value, channel.refused and channel.refused.error) == (None, "WrongLocation")


def test_what_changed_is_what_the_step_wrote(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(ASKED)
        lines = {line.step: line.spot.id for line in thread.history() if not line.spot.namespace}
        changes = thread.changes(lines[0], lines[1])
    assert [(change.path, change.kind) for change in changes] == [
        (("count",), "added"),
        (("log", "0"), "added"),
        (("nothing",), "added"),
    ]


def test_no_thread_and_no_checkpoint_are_said_to_be_none(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        with pytest.raises(NotFound):
            view.thread("another")
        with pytest.raises(NotFound):
            view.thread(ASKED).checkpoint("another")
        with pytest.raises(DatabaseFailed), open_view("nowhere.db", OLD_KEY):
            pass


def test_paging_goes_through_all_threads_once(tmp_path: Any) -> None:
    place = str(tmp_path / "many.sqlite")
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, OLD_KEY)
        for number in range(12):
            run_until_asked(saver, config_of(f"thread {number}"))
    with open_view(place, OLD_KEY) as view:
        found, after = [], ""
        while True:
            page = view.threads(after=after, limit=5)
            found += [line.id for line in page.lines]
            after = page.after
            if not after:
                break
        assert found == [f"thread {number}" for number in reversed(range(12))]
        assert [line.id for line in view.threads(Search(text="D 1")).lines] == ["thread 11", "thread 10", "thread 1"]
        assert view.threads(Search(text="100%")).lines == ()


def test_a_fork_has_two_children(tmp_path: Any) -> None:
    place = str(tmp_path / "fork.sqlite")
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, OLD_KEY)
        run_until_asked(saver, config_of("forked"))
        graph = whole_graph(saver)
        [before] = [each for each in graph.get_state_history(config_of("forked")) if each.metadata["step"] == 1]
        graph.update_state(before.config, {"count": 9})
        answer(saver, config_of("forked"), "yes")
    with open_view(place, OLD_KEY) as view:
        parents = [spot.parent for spot in view.thread("forked").spots if not spot.namespace]
    assert max(parents.count(parent) for parent in parents if parent) == 2


# --- verified before it is shown ----------------------------------------------------------------------------------------


def corrupted(place: str, thread: str) -> Thread:
    return open_view(place, OLD_KEY).thread(thread)


# rule T-28
def test_a_changed_checkpoint_stays_hidden_with_the_reason_in_its_place(written: str) -> None:
    newest = newest_of(written)
    sql.run(written, "UPDATE checkpoints SET parent_checkpoint_id = 'another' WHERE checkpoint_id = ?", newest)
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(ASKED)
        found = thread.latest()
        assert found.line.refused is not None
        assert found.line.refused.error == "WrongLocation"
        assert (found.channels, found.metadata.pairs, found.writes, found.next) == ((), (), (), ())
        assert [line.refused is not None for line in thread.history()] == [True] + [False] * 7
        assert [bool(line.refused) for line in view.threads().lines] == [False, True]


def test_a_changed_write_stays_hidden(written: str) -> None:
    table, column = sql.writes_of(written)
    [(value,)] = sql.run(written, f"SELECT {column} FROM {table} WHERE channel = '__interrupt__'")
    middle = len(value) // 2
    flipped = bytes(value)[:middle] + bytes([bytes(value)[middle] ^ 1]) + bytes(value)[middle + 1 :]
    sql.run(written, f"UPDATE {table} SET {column} = ? WHERE channel = '__interrupt__'", flipped)
    with open_view(written, OLD_KEY) as view:
        [write] = view.thread(ASKED).latest().writes
    assert (write.value, write.refused and write.refused.error) == (None, "AuthenticationFailed")


def newest_of(place: str) -> str:
    [(newest,)] = sql.run(place, "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''", ASKED)
    return str(newest)


# --- whose it is ----------------------------------------------------------------------------------------------------------


def write_tenants(place: str) -> None:
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, OLD_KEY)
        for tenant in ("acme", "globex"):
            with encryption_context(tenant_id=tenant):
                run_until_asked(saver, config_of(f"of {tenant}"))


def test_a_context_shows_the_threads_of_that_tenant_alone(place: str) -> None:
    write_tenants(place)
    with open_view(place, OLD_KEY, context={"tenant_id": "acme"}) as view:
        assert [(line.id, dict(line.context or {})) for line in view.threads().lines] == [("of acme", {"tenant_id": "acme"})]
        other = view.thread("of globex").latest()
        assert other.line.refused is not None
        assert other.line.refused.error == "WrongContext"
        assert other.channels == ()
        found = view.find("planned")
        assert {one.place["thread"] for one in found.occurrences} == {"of acme"}
        assert found.other_contexts > 0


def test_a_wrong_key_shows_nothing(written: str) -> None:
    with open_view(written, Key.generate()) as view:
        assert {line.refused and line.refused.error for line in view.threads().lines} == {"UnknownKey"}
        assert view.thread(ASKED).latest().channels == ()
        assert view.find("planned").occurrences == ()


# --- who looked -----------------------------------------------------------------------------------------------------------


# rule T-31
def test_every_look_is_an_event_with_its_place_and_no_data(written: str) -> None:
    events: list[AuditEvent] = []
    with open_view(written, OLD_KEY, actor="ann", reason="ticket 1", audit=events.append) as view:
        view.threads()
        thread = view.thread(ASKED)
        thread.page()
        checkpoint = thread.latest()
        view.find("planned")
    assert {(event.action, event.actor, event.reason, event.outcome) for event in events} == {("look", "ann", "ticket 1", "ok")}
    assert [dict(event.place or {}) for event in events][1:3] == [
        {"thread": ASKED},
        {"thread": ASKED, "checkpoint": checkpoint.line.spot.id},
    ]
    assert "planned" not in str(events)


def test_a_listener_that_fails_keeps_everything_hidden(written: str) -> None:
    def full(event: AuditEvent) -> None:
        raise OSError("disk full")

    with open_view(written, OLD_KEY, audit=full) as view:
        for look in (view.threads, view.thread(ASKED).page, view.thread(ASKED).latest, lambda: view.find("planned")):
            with pytest.raises(OSError, match="disk full"):
                look()


def test_a_reason_is_required_where_the_deployment_says_so(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTED_SERDE_REQUIRE_REASON", "1")
    for reason in (None, "", "  "):
        with pytest.raises(ConfigurationError, match="a reason is required"):
            open_view(written, OLD_KEY, reason=reason)
    open_view(written, OLD_KEY, reason="ticket 1").close()


# --- items ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pseudonymous", [False, True])
def test_items_are_shown_under_the_names_of_the_application(tmp_path: Any, pseudonymous: bool) -> None:
    import sqlite3
    from contextlib import closing

    from langgraph.store.sqlite import SqliteStore

    place = str(tmp_path / "store.sqlite")
    with closing(sqlite3.connect(place, check_same_thread=False, isolation_level=None)) as connection:
        inner = SqliteStore(connection)
        inner.setup()
        store = EncryptedStore(inner, OLD_KEY, pseudonymous_names=pseudonymous)
        store.put(("users", "42"), "profile", {"name": "Ann", "tags": ["a", "b"]})
    with open_view(place, OLD_KEY) as view:
        assert (view.has_threads, view.has_items) == (False, True)
        [namespace] = view.namespaces()
        [item] = view.items(namespace.place)
        assert view.items("users.42") == [item]
        assert view.item("users.42", "profile") == item
        with pytest.raises(NotFound):
            view.item("users.42", "another")
        assert view.items("users.43") == []
        assert view.item(*item.place) == item
        assert view.threads().lines == ()
        [found] = view.find("ANN").occurrences
    assert (namespace.labels, namespace.items) == (("users", "42"), 1)
    assert (namespace.place == "users.42") is not pseudonymous
    assert (item.namespace, item.key) == (("users", "42"), "profile")
    assert as_json(item.value) == {"name": "Ann", "tags": ["a", "b"]}
    assert dict(found.place) == {"namespace": "users.42", "key": "profile"}


def test_mysql_and_mariadb_are_shown_too(mysql_url: str) -> None:
    write_every_form(mysql_url, FORM)
    with open_view(mysql_url, OLD_KEY) as view:
        assert [line.id for line in view.threads().lines] == [DELTA, ASKED]
        found = view.thread(ASKED).latest()
        assert found.next == ("ask",)
        assert state_of(found)["question"] == "why"
        assert [line.refused for line in view.thread(DELTA).history()] == [None] * 10


def test_a_text_is_found_wherever_it_is_decrypted(written: str) -> None:
    with open_view(written, OLD_KEY) as view:
        found = view.find("WORKED on why/LEFT")
        assert found.refused == {}
        assert {one.where for one in found.occurrences} == {"channel", "write"}
        assert {one.place["thread"] for one in found.occurrences} == {ASKED}
        assert {one.where for one in view.find("ann@example.org").occurrences} == {"metadata"}
        assert view.find("nowhere to be found").occurrences == ()


def test_masked_values_are_masked_in_every_answer(written: str) -> None:
    with open_view(written, OLD_KEY, mask=["email", "wor.ed"]) as view:
        found = view.thread(ASKED).latest()
        assert "ann@example.org" not in str(found)
        assert "worked" not in str(found)
        assert "worked" not in str(view.find("worked"))
        assert view.mask.hidden > 0


def test_what_replays_is_what_is_shown(written: str) -> None:
    """Every history that the application replays has as many states here."""
    with open_saver(written) as plain:
        replayed = replay(EncryptedSaver(plain, OLD_KEY, searchable_metadata=["user_email"]), "saver-old-key")
    with open_view(written, OLD_KEY) as view:
        assert len([*view.thread(DELTA).history()]) == len(replayed["delta"])


def test_the_rest_of_an_incomplete_batch_stays_hidden(written: str) -> None:
    table, _ = sql.writes_of(written)
    with open_view(written, OLD_KEY) as view:
        thread = view.thread(ASKED)
        spot = next(spot for spot in thread.spots if len(thread.checkpoint(spot.id, spot.namespace).writes) > 2)
        task = thread.checkpoint(spot.id, spot.namespace).writes[0].task
    [(channel,)] = sql.run(
        written, f"SELECT channel FROM {table} WHERE checkpoint_id = ? AND task_id = ? AND idx = 0", spot.id, task
    )
    sql.run(written, f"DELETE FROM {table} WHERE checkpoint_id = ? AND task_id = ? AND channel = ?", spot.id, task, channel)
    with open_view(written, OLD_KEY) as view:
        writes = [each for each in view.thread(ASKED).checkpoint(spot.id, spot.namespace).writes if each.task == task]
    assert writes
    assert {(write.value, write.refused and write.refused.error) for write in writes} == {(None, "Incomplete")}
