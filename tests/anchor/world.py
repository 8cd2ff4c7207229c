"""Applications and an attacker at one database with one anchor, and readers whose answers are compared with the model."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row

from encrypted_serde import EncryptedSaver, EncryptedSerdeError, Incomplete, Key, Keyring
from encrypted_serde.anchor import Kind
from encrypted_serde.anchor.client import AnchorClient
from encrypted_serde.maintenance.codec import RowCodec, Switches
from encrypted_serde.maintenance.completeness import AnchoredDatabase
from encrypted_serde.maintenance.sqlite import SqliteDatabase
from encrypted_serde.saver import whole_history
from tests.anchor.model import Model, Values

THREADS = ("a", "b")
NAMESPACES = ("", "", "child")
RUNS = ("r1", "r2", "r3")
TASKS = ("00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b")
CHANNELS = ("out", INTERRUPT, RESUME)

whole_history._PAUSES = (0.0,)  # processes here take turns: there is nobody to wait for


class Died(BaseException):
    """The process was killed. Nothing of it runs any more, no ``finally`` either."""


class Fuse:
    """Kills a process at one of the steps between rows and entries.

    Attributes:
        left: After how many half steps; None for never.
        is_dead: Whether it died.
        appends: How many entries calls were made.
        changes: How many calls changed rows.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.is_dead = False
        self.appends = self.changes = 0

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            self.is_dead = self.is_dead or self.left < 0
        self.check()

    def check(self) -> None:
        if self.is_dead:
            raise Died

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.burn()
        yield
        setattr(self, name, getattr(self, name) + 1)
        self.burn()


class FusedAnchor:
    """An anchor as one process sees it."""

    def __init__(self, anchor: Any, fuse: Fuse) -> None:
        self._anchor, self._fuse = anchor, fuse

    def append(self, entries: Any) -> int:
        with self._fuse.step("appends"):
            return self._anchor.append(entries)

    def newest(self, *arguments: Any) -> Any:
        self._fuse.check()
        return self._anchor.newest(*arguments)

    def entries(self, *arguments: Any) -> Any:
        self._fuse.check()
        return self._anchor.entries(*arguments)

    def threads(self) -> Any:
        self._fuse.check()
        return self._anchor.threads()


class _Faulty:
    """A saver whose process may be killed, whose database may lie, and which deletes parts of threads too."""

    fuse: Fuse
    world: World

    def get_tuple(self, config: Any) -> Any:
        self.fuse.check()
        found = super().get_tuple(config)  # type: ignore[misc]
        if self.world.lies and found is not None and not config["configurable"].get("checkpoint_id"):
            older = [*super().list({"configurable": {**config["configurable"]}}, before=found.config, limit=1)]  # type: ignore[misc]
            return older[0] if older else None
        return found

    def list(self, config: Any, *, filter: Any = None, before: Any = None, limit: Any = None) -> Any:  # noqa: A002
        self.fuse.check()
        for number, found in enumerate(super().list(config, filter=filter, before=before, limit=limit)):  # type: ignore[misc]
            if not self.world.lies or number % 2:
                yield found

    def put(self, *arguments: Any) -> Any:
        with self.fuse.step("changes"):
            return super().put(*arguments)  # type: ignore[misc]

    def put_writes(self, *arguments: Any) -> Any:
        with self.fuse.step("changes"):
            return super().put_writes(*arguments)  # type: ignore[misc]

    def delete_thread(self, thread_id: str) -> None:
        with self.fuse.step("changes"):
            super().delete_thread(thread_id)  # type: ignore[misc]

    def prune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        with self.fuse.step("changes"):
            for thread_id in thread_ids:
                self.world.execute(
                    "DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_id <> (SELECT max(c.checkpoint_id) "
                    "FROM checkpoints AS c WHERE c.thread_id = checkpoints.thread_id "
                    "AND c.checkpoint_ns = checkpoints.checkpoint_ns)",
                    thread_id,
                )

    def delete_for_runs(self, run_ids: Any) -> None:
        with self.fuse.step("changes"):
            for run_id in run_ids:
                self.world.execute(f"DELETE FROM checkpoints WHERE {self.world.run_column} = ?", run_id)

    async def aget_tuple(self, config: Any) -> Any:
        return self.get_tuple(config)

    async def alist(self, config: Any, **options: Any) -> Any:
        for found in self.list(config, **options):
            yield found

    async def aput(self, *arguments: Any) -> Any:
        return self.put(*arguments)

    async def aput_writes(self, *arguments: Any) -> None:
        self.put_writes(*arguments)

    async def adelete_thread(self, thread_id: str) -> None:
        self.delete_thread(thread_id)

    async def aprune(self, thread_ids: Any, *, strategy: str = "keep_latest") -> None:
        self.prune(thread_ids, strategy=strategy)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.delete_for_runs(run_ids)


class FaultySqlite(_Faulty, SqliteSaver):
    pass


class FaultyPostgres(_Faulty, PostgresSaver):
    pass


class Process:
    """One process: a saver that lives long, whose methods are called synchronously or on an event loop."""

    def __init__(self, world: World, *, is_async: bool) -> None:
        self.world, self.is_async = world, is_async
        self.restart()

    def restart(self) -> None:
        self.fuse = Fuse()
        inner = self.world.open_inner()
        inner.fuse, inner.world = self.fuse, self.world
        self.saver = EncryptedSaver(inner, self.world.keys, anchor=FusedAnchor(self.world.anchor, self.fuse))
        self.saver.get_tuple({"configurable": {"thread_id": "none", "checkpoint_ns": ""}})  # opens the anchor

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        if not self.is_async:
            return getattr(self.saver, name)(*arguments, **named)
        return _loop().run_until_complete(getattr(self.saver, f"a{name}")(*arguments, **named))

    def listed(self, config: Any, **options: Any) -> list[Any]:
        if not self.is_async:
            return [*self.saver.list(config, **options)]

        async def gathered() -> list[Any]:
            return [found async for found in self.saver.alist(config, **options)]

        return _loop().run_until_complete(gathered())


class _Here(ThreadPoolExecutor):
    """Does at once what would be done in a thread: nothing is to be waited for here, and handing over takes long."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*arguments, **named))
        except BaseException as error:  # noqa: BLE001  # raised where the result is awaited
            done.set_exception(error)
        return done


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_default_executor(_Here())
    return loop


class World:
    """All of it.

    Attributes:
        anchor: The anchor.
        keys: What processes that start now seal with.
        model: The promise.
        is_honest: Whether the database is as applications left it.
        lies: Whether the database hides the newest row from whoever asks for it, and every other row of lists.
        attacks: How many edits were made.
    """

    connection: Any
    tables: tuple[str, str]
    all_tables: tuple[str, ...]
    run_column: str

    def __init__(self, anchor: Any) -> None:
        self.anchor = anchor
        self._keys = [Key.generate(), Key.generate()]
        self.model = Model()
        self.is_honest, self.lies, self.attacks = True, False, 0
        self._number = 0
        self._library: list[tuple[str, tuple[Any, ...]]] = []
        self._before: dict[str, list[tuple[Any, ...]]] | None = None
        self._known_rows: set[Any] = set()
        self._backups: list[dict[str, list[tuple[Any, ...]]]] = []
        self.processes = [Process(self, is_async=False), Process(self, is_async=True)]

    # --- applications

    def put(self, process: int, thread: int, namespace: int, parent: int, run: int, fuse: int | None) -> None:
        thread_id, checkpoint_ns = THREADS[thread % 2], NAMESPACES[namespace % 3]
        self._number += 1
        checkpoint_id = str(uuid6(clock_seq=self._number))
        there = self.model.there(thread_id, checkpoint_ns)
        place = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns}
        config: Any = {"configurable": {**place, **({"checkpoint_id": there[parent % len(there)][1]} if there else {})}}
        checkpoint = {
            "v": 4,
            "id": checkpoint_id,
            "ts": "2026-11-27T00:00:00+00:00",
            "channel_values": {"limit": f"{self._number}"},
            "channel_versions": {"limit": f"{self._number:032}.0"},
            "versions_seen": {},
            "updated_channels": ["limit"],
        }
        metadata = {"source": "loop", "step": self._number, "run_id": RUNS[run % 3]}
        versions = checkpoint["channel_versions"]
        did, came = self._run(process, fuse, lambda saver: saver.call("put", config, checkpoint, metadata, versions))
        if did.changes:
            self.model.stored(did, thread_id, (checkpoint_ns, checkpoint_id), RUNS[run % 3], is_entered=came)

    def write(self, process: int, thread: int, row: int, task: int, channels: int, fuse: int | None) -> None:
        thread_id = THREADS[thread % 2]
        there = self.model.there(thread_id)
        if not there:
            return
        key = there[-1 - row % len(there)]
        chosen = [channel for number, channel in enumerate(CHANNELS) if channels >> number & 1] or ["out"]
        if "out" in chosen:  # LangGraph does not mix ordinary and special writes in one call
            chosen = ["out"]
        self._number += 1
        values: Values = {(TASKS[task % 2], channel): f"{channel} {self._number}" for channel in chosen}
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": key[0], "checkpoint_id": key[1]}}
        writes = [(channel, value) for (_, channel), value in values.items()]
        did, came = self._run(process, fuse, lambda saver: saver.call("put_writes", config, writes, TASKS[task % 2]))
        if did.changes:
            self.model.wrote(did, thread_id, key, values, is_entered=came)

    def delete_thread(self, process: int, thread: int, fuse: int | None) -> None:
        thread_id = THREADS[thread % 2]
        did, came = self._run(process, fuse, lambda saver: saver.call("delete_thread", thread_id))
        self.model.deletes_thread(
            thread_id, is_announced=did.appends > 0, is_done=did.changes > 0, is_ended=came or did.appends > 1
        )
        self.model.forgets_thread(did, thread_id)

    def prune(self, process: int, thread: int, fuse: int | None) -> None:
        """Prunes a thread, whose newest checkpoints were entered by then at the latest."""
        thread_id = THREADS[thread % 2]
        before = self._announcements()
        may_refuse = self.model.may_refuse_to_prune(thread_id)
        did, came = self._run(process, fuse, lambda saver: saver.call("prune", [thread_id]), may_refuse=may_refuse)
        is_announced = self._announcements() > before
        if may_refuse and self.is_honest and not is_announced:
            return
        keys = {*self.model.there(thread_id)} - self.model.newest(thread_id)
        self._deleted(did, {thread_id: keys}, came=came, is_announced=is_announced, ends_all=True)

    def delete_for_runs(self, process: int, run: int, fuse: int | None) -> None:
        run_id = RUNS[run % 3]
        before = self._announcements()
        did, came = self._run(process, fuse, lambda saver: saver.call("delete_for_runs", [run_id]))
        keys = {
            thread_id: {key for key in self.model.there(thread_id) if self.model.thread(thread_id).rows[key].run == run_id}
            for thread_id in THREADS
        }
        self._deleted(did, keys, came=came, is_announced=self._announcements() > before, ends_all=False)

    def rotate(self) -> None:
        """Makes the key primary that all processes read by now. Those that would not read the next one start anew."""
        for number, process in enumerate(self.processes):
            if process.saver._wiring.sealer.keys.primary != self.keys.primary:
                self.restart(number)
        self._keys.append(Key.generate())

    @property
    def keys(self) -> Keyring:
        """What processes that start now are given: the next key is deployed everywhere before it is written with."""
        *old, primary, coming = self._keys
        return Keyring(primary=primary, decrypt_only=[*old, coming])

    def restart(self, process: int) -> None:
        self.model.forgets(self.processes[process % 2].fuse)
        self.processes[process % 2].restart()

    def back_up(self) -> None:
        if self.is_honest:
            self._backups.append({table: self.rows(table) for table in self.all_tables})

    def restore(self, backup: int) -> None:
        """An operator puts a backup back, and has `anchor accept` accept what it lacks."""
        if not self._backups or not self.is_honest:
            return
        self._fill(self._backups[backup % len(self._backups)])
        with self.beside_anchor(writes=True) as both:
            for thread_id in THREADS:
                both.accept(both.compare(thread_id))
                assert not [finding for finding in both.compare(thread_id).findings if not finding.is_no_loss]
        for thread_id in THREADS:
            self.model.accepts(thread_id, self._content(thread_id))
        self._before = None

    def _content(self, thread_id: str) -> dict[tuple[str, str], Values]:
        """Returns which checkpoints the database has, and what is in their slots."""
        plain = EncryptedSaver(self.plain_inner(), self.keys)
        return {_key(found): _values(found) for found in plain.list({"configurable": {"thread_id": thread_id}})}

    def check_status(self, thread: int) -> None:
        """`anchor status` finds what the saver refuses, and nothing else."""
        thread_id = THREADS[thread % 2]
        with self.beside_anchor(writes=False) as both:
            compared = both.compare(thread_id)
            lost = [finding for finding in compared.findings if not finding.is_no_loss]
            if self.is_honest:
                assert not lost, lost
                assert not compared.failures, compared.failures
            elif not lost and not compared.failures and not self.lies:
                there = {(judged.row.checkpoint_ns, judged.row.checkpoint_id) for judged in compared.rows if judged.counts}
                rows = self.model.thread(thread_id).rows
                missing = [key for key, row in rows.items() if self.model._must(thread_id, row) and key not in there]
                assert not missing, missing

    @contextmanager
    def beside_anchor(self, *, writes: bool) -> Iterator[AnchoredDatabase]:
        client = AnchorClient(self.anchor, self.keys, writes=writes)
        yield AnchoredDatabase(self.open_database(), RowCodec(self.keys, Switches()), client)

    def _announcements(self) -> int:
        return sum(
            entry.kind == Kind.GOING and not entry.is_about_thread
            for thread in self.anchor.threads()
            for entry in self.anchor.entries(thread)
        )

    def _deleted(self, did: Fuse, keys: Any, *, came: bool, is_announced: bool, ends_all: bool) -> None:
        for thread_id, those in keys.items():
            if those and self.is_honest:
                self.model.forgets_thread(did, thread_id)
            if not self.is_honest or (not came and did.changes):
                # Which of several threads were settled when a process died need not be told apart.
                self.model.weaken(thread_id, those)
            self.model.deletes(
                thread_id,
                those,
                is_announced=is_announced,
                is_done=did.changes > 0,
                is_ended=came and self.is_honest,
                ends_all=ends_all,
            )

    def _run(
        self, process: int, fuse: int | None, call: Callable[[Process], Any], *, may_refuse: bool = False
    ) -> tuple[Fuse, bool]:
        """Has a process do something. Returns what it did, and whether it came to the end."""
        subject = self.processes[process % 2]
        did = subject.fuse
        did.left, did.appends, did.changes = fuse, 0, 0
        self._before = None
        came = True
        try:
            call(subject)
        except Died:
            came = False
            subject.restart()
            self.model.forgets(did)
        except EncryptedSerdeError as error:
            came = False
            if self.is_honest and not (may_refuse and isinstance(error, Incomplete)):
                raise
        did.left = None
        self._remember_rows()
        return did, came

    # --- the attacker

    def attack(self, edits: list[tuple[int, int, int]]) -> None:
        """Edits the database as somebody does who can write it and has kept a copy of everything."""
        self._note_honest()
        for kind, one, other in edits:
            self.attacks += 1
            self._edit(kind % 8, one, other)

    def lie(self) -> None:
        self.attacks += 1
        self._note_honest()
        self.lies = True

    def undo(self) -> None:
        """Puts everything back as it was, if no application has worked on what it found."""
        self.lies = False
        if self._before is not None:
            self._fill(self._before)
            self.is_honest, self._before = self.model.agrees(), None

    def _note_honest(self) -> None:
        if self.is_honest:
            self._before = {table: self.rows(table) for table in self.tables}
        self.is_honest = False

    def _fill(self, content: dict[str, list[tuple[Any, ...]]]) -> None:
        for table, rows in content.items():
            self.execute(f"DELETE FROM {table}")
            for row in rows:
                self._insert(table, row)

    def _edit(self, kind: int, one: int, other: int) -> None:
        table = self.tables[kind & 1]
        rows = sorted(self.rows(table), key=lambda row: row[:5], reverse=True)
        if kind in (0, 1) and rows:
            self._delete(table, rows[one % len(rows)])
        elif kind in (2, 3) and self._library:
            name, row = self._library[-1 - one % len(self._library)]
            self._delete(name, row)
            self._insert(name, row)
        elif kind == 4 and rows:  # cut the tail of a thread
            thread_id = THREADS[other % 2]
            for row in [row for row in sorted(rows, key=lambda row: row[2], reverse=True) if row[0] == thread_id][: one % 4]:
                self._delete(table, row)
        elif kind == 5 and len(rows) > 1:  # swap what two rows hold
            first, second = rows[one % len(rows)], rows[other % len(rows)]
            self._delete(table, first)
            self._delete(table, second)
            keys = self.keys_of(table)
            self._insert(table, first[:keys] + second[keys:])
            if first[:keys] != second[:keys]:
                self._insert(table, second[:keys] + first[keys:])
        elif kind == 6 and rows:  # a row that does not load
            row = rows[one % len(rows)]
            garbage = (row[0], row[1], "3fffffff-ffff-6fff-bfff-ffffffffffff", None, *self.garbage)
            self._delete(self.tables[0], garbage)
            self._insert(self.tables[0], garbage)
        elif kind == 7:  # all of an older thread
            for name, row in self._library[: one % (len(self._library) + 1)]:
                if row[0] == THREADS[other % 2]:
                    self._delete(name, row)
                    self._insert(name, row)

    def _remember_rows(self) -> None:
        for table in self.tables:
            for row in self.rows(table):
                if (table, row[:5], bytes(str(row[-1]), "utf-8")) not in self._known_rows:
                    self._known_rows.add((table, row[:5], bytes(str(row[-1]), "utf-8")))
                    self._library.append((table, row))

    def _delete(self, table: str, row: tuple[Any, ...]) -> None:
        names = ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx")[: self.keys_of(table)]
        self.execute(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in names)}", *row[: len(names)])

    def keys_of(self, table: str) -> int:
        return 3 if table == "checkpoints" else 5

    # --- readers

    def look(self, reader: int, thread: int, limit: int) -> None:
        """Has a reader, a process or a new one, read a thread in every way, and compares with the model."""
        subject = self.processes[reader % 3] if reader % 3 < 2 else Process(self, is_async=bool(reader & 4))
        subject.fuse.left = None
        thread_id = THREADS[thread % 2]
        for namespace in ("", "child"):
            self._look_at_newest(subject, thread_id, namespace)
        self._look_at_list(subject, thread_id, namespace="", limit=1 + limit % 3)
        self._look_at_list(subject, thread_id)
        self._look_at_list(subject, thread_id, run=RUNS[limit % 3], limit=1 + limit % 2)
        for key in [*self.model.thread(thread_id).rows][-2:]:
            self._look_at_row(subject, thread_id, key)

    def _look_at_newest(self, subject: Process, thread_id: str, namespace: str) -> None:
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace}}
        answered, found = self._ask(lambda: subject.call("get_tuple", config))
        if answered:
            seen = None if found is None else (found.config["configurable"]["checkpoint_id"], _values(found))
            self._hold(self.model.newest_problem(thread_id, namespace, seen))
            if seen is not None:
                self.model.saw(subject.fuse, thread_id, (namespace, seen[0]), seen[1])

    def _look_at_row(self, subject: Process, thread_id: str, key: tuple[str, str]) -> None:
        config = {"configurable": {"thread_id": thread_id, "checkpoint_ns": key[0], "checkpoint_id": key[1]}}
        answered, found = self._ask(lambda: subject.call("get_tuple", config))
        row = self.model.thread(thread_id).rows[key]
        if answered and found is not None:
            self._hold(self.model.row_problem(thread_id, key, _values(found)))
            self.model.saw(subject.fuse, thread_id, key, _values(found))
        elif answered:
            self._hold(f"{key} is required" if self.model._must(thread_id, row) else None)

    def _look_at_list(self, subject: Process, thread_id: str, namespace: str | None = None, **asked: Any) -> None:
        place = {"thread_id": thread_id} if namespace is None else {"thread_id": thread_id, "checkpoint_ns": namespace}
        run, limit = asked.get("run"), asked.get("limit")
        wanted = None if run is None else {"run_id": run}
        answered, found = self._ask(lambda: subject.listed({"configurable": place}, filter=wanted, limit=limit))
        if answered:
            rows = [(_key(each), _values(each)) for each in found]
            self._hold(self.model.list_problem(thread_id, rows, namespace=namespace, run=run, limit=limit))
            for key, values in rows:
                self.model.saw(subject.fuse, thread_id, key, values)

    def _ask(self, read: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            return True, read()
        except EncryptedSerdeError:
            if self.is_honest:
                raise
            return False, None

    def _hold(self, problem: str | None) -> None:
        if problem is not None:
            raise AssertionError(problem)

    # --- all of it by name

    def act(self, name: str, **drawn: Any) -> None:
        """Does one thing of what applications, operators, attackers and readers do."""
        if name == "put_several":
            for _ in range(3):
                self.put(**drawn, fuse=None)
        elif name in ("attack", "lie"):
            edits, undoes = drawn.pop("edits", None), drawn.pop("undoes", True)
            self.lie() if edits is None else self.attack(edits)
            self._look_three_times(**drawn)
            if undoes:
                self.undo()
                self._look_three_times(**drawn)
        else:
            getattr(self, name)(**drawn)

    def _look_three_times(self, reader: int, thread: int, limit: int) -> None:
        self.check_status(thread)
        for number in range(3):
            self.look(reader + number, thread, limit)

    # --- the database

    def open_inner(self) -> Any:
        raise NotImplementedError

    def plain_inner(self) -> Any:
        raise NotImplementedError

    def open_database(self) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.connection.close()

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        raise NotImplementedError


def _key(found: Any) -> tuple[str, str]:
    return found.config["configurable"]["checkpoint_ns"], found.config["configurable"]["checkpoint_id"]


def _values(found: Any) -> Values:
    return {(task_id, channel): value for task_id, channel, value in found.pending_writes or ()}


class SqliteWorld(World):
    tables = all_tables = ("checkpoints", "writes")
    run_column = "json_extract(metadata, '$.run_id')"
    garbage = ("msgpack", b"\x80", b"{}")
    _COLUMNS = {  # noqa: RUF012
        "checkpoints": "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
        "writes": "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value, task_path",
    }

    def __init__(self, anchor: Any) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        SqliteSaver(self.connection).setup()
        super().__init__(anchor)

    def open_inner(self) -> Any:
        return FaultySqlite(self.connection)

    def plain_inner(self) -> Any:
        return SqliteSaver(self.connection)

    def open_database(self) -> Any:
        return SqliteDatabase(self.connection, "memory")

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, parameters).fetchall()

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.execute(f"SELECT {self._COLUMNS[table]} FROM {table}")

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        self.execute(f"INSERT INTO {table} ({self._COLUMNS[table]}) VALUES ({', '.join('?' * len(row))})", *row)


class PostgresWorld(World):
    tables = ("checkpoints", "checkpoint_writes")
    all_tables = (*tables, "checkpoint_blobs")
    run_column = "metadata->>'run_id'"
    garbage = ("msgpack", '{"v": 4, "channel_values": {}, "channel_versions": {}}', "{}")

    def __init__(self, anchor: Any, dsn: str) -> None:
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=0, row_factory=dict_row)
        self._tuples = psycopg.connect(dsn, autocommit=True)
        PostgresSaver(self.connection).setup()
        for table in self.all_tables:
            self.execute(f"DELETE FROM {table}")
        super().__init__(anchor)

    def open_inner(self) -> Any:
        return FaultyPostgres(self.connection)

    def plain_inner(self) -> Any:
        return PostgresSaver(self.connection)

    def open_database(self) -> Any:
        from encrypted_serde.maintenance.postgres import PostgresDatabase

        return PostgresDatabase(self._tuples, "postgres")

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
            cursor.execute(statement.replace("?", "%s"), parameters)
            return cursor.fetchall() if cursor.description else []

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.execute(f"SELECT {self._columns(table, text=True)} FROM {table}")

    def _columns(self, table: str, *, text: bool) -> str:
        if table == "checkpoints":
            json = "::text" if text else ""
            return f"thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint{json}, metadata{json}"
        if table == "checkpoint_blobs":
            return "thread_id, checkpoint_ns, channel, version, type, blob"
        return "thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path"

    def close(self) -> None:
        self.connection.close()
        self._tuples.close()

    def _insert(self, table: str, row: tuple[Any, ...]) -> None:
        marks = ["?"] * len(row)
        if table == "checkpoints":
            marks[5:7] = ["?::jsonb", "?::jsonb"]
        self.execute(f"INSERT INTO {table} ({self._columns(table, text=False)}) VALUES ({', '.join(marks)})", *row)
