"""`expire`: what is old goes, with all that belongs to it alone; what is not old, or needs its history, stays."""

from __future__ import annotations

import random
import signal
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from encrypted_serde import ConfigurationError, EncryptedSaver
from encrypted_serde.maintenance import Selection, expire, verify
from encrypted_serde.maintenance.selection import first_id
from tests.maintenance import sql
from tests.maintenance.forms import NEW_KEY, config_of, delta_graph, open_saver
from tests.maintenance.processes import finish, start_worker
from tests.maintenance.worker import counting_graph
from tests.saver.graphs import answer, run_until_asked, whole_graph

NOW = datetime.now(timezone.utc)
OLD = NOW - timedelta(days=40)
CUTOFF = NOW - timedelta(days=30)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes meanwhile: what checkpoints leave behind can go at once."""
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.expire"], "SETTLE", 0.0)


def write(place: str, *threads: str, turns: int = 2, wrapped: bool = False) -> None:
    """Runs a graph on threads; sealed values cannot be made older, so most tests use a plain saver."""
    with open_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY) if wrapped else plain)
        for thread in threads:
            for turn in range(turns):
                graph.invoke({"log": [f"turn {turn}"]}, config(thread))


def config(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


def tables(place: str) -> dict[str, str]:
    writes, _ = sql.writes_of(place)
    return {"checkpoints": "checkpoints", "writes": writes, **({"blobs": "checkpoint_blobs"} if ":" in place else {})}


def counts(place: str, thread: str) -> dict[str, int]:
    return {name: sql.count(place, table, "thread_id = ?", thread) for name, table in tables(place).items()}


def test_a_thread_that_nobody_wrote_to_since_goes_with_all_that_belongs_to_it(place: str) -> None:
    write(place, "a", "b")
    later = datetime.now(timezone.utc)
    write(place, "b", "c")
    untouched = {thread: counts(place, thread) for thread in ("b", "c")}
    done = expire(place, later)
    assert (done.threads, done.gone) == (1, 1)
    assert set(counts(place, "a").values()) == {0}
    assert {thread: counts(place, thread) for thread in ("b", "c")} == untouched
    assert done.deleted["checkpoints"] == 8
    assert done.deleted_bytes > 0
    again = expire(place, later)
    assert (again.threads, set(again.deleted.values())) == (0, {0})


@pytest.mark.parametrize("keep_latest", [False, True])
def test_a_dry_run_says_the_same_and_deletes_nothing(place: str, keep_latest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.expire"], "PAGE_ROWS", 5)  # several pages of each thread
    write(place, "a", "b")
    later = datetime.now(timezone.utc)
    write(place, "c")
    before = counts(place, "a")
    dry = expire(place, later, keep_latest=keep_latest, dry_run=True)
    assert counts(place, "a") == before
    assert dry.deleted["checkpoints"] == (12 if keep_latest else 16)
    assert min(dry.deleted.values()) > 0
    done = expire(place, later, keep_latest=keep_latest)
    assert (dry.threads, dry.gone, dry.deleted) == (done.threads, done.gone, done.deleted)
    assert dry.deleted_bytes == done.deleted_bytes > 0


def test_values_go_too_where_the_last_page_of_checkpoints_is_full(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, "a")
    later = datetime.now(timezone.utc)
    expected = expire(place, later, keep_latest=True, dry_run=True).deleted
    monkeypatch.setattr(sys.modules["encrypted_serde.maintenance.expire"], "PAGE_ROWS", expected["checkpoints"])
    assert expire(place, later, keep_latest=True).deleted == expected


def test_a_rate_holds_for_short_threads_too(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place, "a", "b")
    paced: list[tuple[Any, int]] = []
    monkeypatch.setattr(
        sys.modules["encrypted_serde.maintenance.expire"], "keep_pace", lambda rate, done, start: paced.append((rate, done))
    )
    done = expire(place, datetime.now(timezone.utc), rate=500)
    assert {rate for rate, _ in paced} == {500}
    assert sum(number for _, number in paced) == done.deleted["checkpoints"]


def test_keep_latest_shortens_histories_and_every_thread_goes_on(place: str) -> None:
    write(place, "a", "b", turns=3, wrapped=True)
    later = datetime.now(timezone.utc)
    write(place, "b", turns=1, wrapped=True)
    done = expire(place, later, keep_latest=True)
    assert (done.threads, done.gone) == (2, 0)
    assert counts(place, "a")["checkpoints"] == 2  # the newest, and its parent
    assert verify(place, NEW_KEY).failures == []
    with open_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY))
        for thread, turns in (("a", 3), ("b", 4)):
            log = graph.get_state(config(thread)).values["log"]
            assert len(log) == 3 * turns
            assert graph.invoke({"log": ["more"]}, config(thread))["log"][: len(log)] == log
    if ":" in place:
        assert done.deleted["checkpoint_blobs"] > 0


def test_a_thread_that_waits_at_an_interrupt_in_a_subgraph_goes_on_after_keep_latest(place: str) -> None:
    with open_saver(place) as plain:
        run_until_asked(EncryptedSaver(plain, NEW_KEY), config("asked"))
    expire(place, datetime.now(timezone.utc), keep_latest=True)
    with open_saver(place) as plain:
        saver = EncryptedSaver(plain, NEW_KEY)
        assert whole_graph(saver).get_state(config("asked")).next == ("ask",)
        answer(saver, config("asked"), "yes")
        assert answer(saver, config("asked"), "no")["answer"] == "yes, no"


@pytest.mark.parametrize("keep_latest", [False, True])
def test_a_thread_with_delta_channels_is_left_whole_and_named(place: str, keep_latest: bool) -> None:
    with open_saver(place) as plain:
        delta_graph(EncryptedSaver(plain, NEW_KEY)).invoke({"log": ["a"], "messages": []}, config_of("delta"))
    before = counts(place, "delta")
    done = expire(place, datetime.now(timezone.utc), keep_latest=keep_latest)
    assert counts(place, "delta") == before
    assert (done.delta_threads, done.delta_thread_count, done.threads) == (["delta"], 1, 0)


def test_ids_that_tell_no_time_are_left_and_counted(place: str) -> None:
    write(place, "a")
    sql.run(place, "UPDATE checkpoints SET checkpoint_id = 'mine' WHERE parent_checkpoint_id IS NULL")
    before = counts(place, "a")
    assert expire(place, datetime.now(timezone.utc)).undated == 1
    assert counts(place, "a") == before


def test_only_the_named_threads_go(place: str) -> None:
    write(place, "a", "b")
    done = expire(place, datetime.now(timezone.utc), selection=Selection(threads=["a"]))
    assert done.threads == 1
    assert counts(place, "b")["checkpoints"] == 8


@pytest.mark.parametrize(
    ("moment", "options"),
    [
        (datetime(2026, 1, 1), {}),
        (NOW + timedelta(days=1), {}),
        (CUTOFF, {"rate": 0}),
        (CUTOFF, {"keys": NEW_KEY}),  # which only an anchor needs
        (CUTOFF, {"selection": Selection(sample=0.5)}),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_touched(place: str, moment: datetime, options: Any) -> None:
    with pytest.raises(ConfigurationError):
        expire(place, moment, **options)


def test_ids_sort_by_the_time_that_they_tell(place: str) -> None:
    before = datetime.now(timezone.utc)
    write(place, "a", turns=1)
    after = datetime.now(timezone.utc)
    ids = [row[0] for row in sql.run(place, "SELECT checkpoint_id FROM checkpoints")]
    assert all(first_id(before) <= checkpoint_id <= first_id(after) for checkpoint_id in ids)


def test_values_of_a_thread_whose_checkpoints_went_in_a_run_that_was_killed_go_in_the_next(postgres_url: str) -> None:
    write(postgres_url, "a", "b")
    sql.run(postgres_url, "DELETE FROM checkpoints WHERE thread_id = 'a'")
    done = expire(postgres_url, CUTOFF)
    assert counts(postgres_url, "a")["blobs"] == 0 < done.deleted["checkpoint_blobs"]
    assert counts(postgres_url, "b")["blobs"] > 0


def kill_again_and_again(place: str, times: int) -> None:
    """Kills `expire` at random moments while an application runs on other threads, and on the same database."""
    threads = [f"old-{number}" for number in range(2 * times)]
    write(place, *threads, turns=1)
    later = datetime.now(timezone.utc)
    write(place, "kept", turns=3, wrapped=True)
    kept = counts(place, "kept")
    application = start_worker("write", place)
    assert application.stdout.readline()
    for number in range(times):
        moment = random.Random(number)
        worker = start_worker("expire", place, "--older-than", later.isoformat(), "--keep-latest" if number % 3 == 2 else "")
        for _ in range(moment.randint(0, 3)):
            worker.stdout.readline()
        worker.kill()
        code, errors = finish(worker)
        assert code in (-signal.SIGKILL, 0), errors
    while application.runs and application.stdout.readline():
        pass
    assert finish(application) == (0, "")
    expire(place, later)
    assert sql.count(place, "checkpoints", "thread_id LIKE 'old-%%'" if ":" in place else "thread_id LIKE 'old-%'") == 0
    for table in tables(place).values():
        assert not sql.run(
            place, f"SELECT 1 FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = t.thread_id)"
        )
    assert counts(place, "kept") == kept
    assert verify(place, NEW_KEY).failures == []
    with open_saver(place) as plain:
        graph = counting_graph(EncryptedSaver(plain, NEW_KEY))
        for writer in range(8):
            assert len(graph.get_state(config(f"writer-{writer}")).values["log"]) == 15


def test_kill_9_at_any_moment_loses_nothing_that_is_kept_and_the_next_run_finishes(place: str) -> None:
    kill_again_and_again(place, 6)


@pytest.mark.soak
def test_kill_9_at_fifty_moments_loses_nothing_that_is_kept(place: str) -> None:
    kill_again_and_again(place, 25)
