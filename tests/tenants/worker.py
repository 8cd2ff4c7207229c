"""Runs in a process of its own, and forks: many processes that use one key store at once, and processes that die in the act.

The arguments are ``first-use``, kind of store, place, tenants, processes; or ``kill``, kind of store, place, operation. The
process prints what came of it as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from encrypted_serde import EncryptedSerdeError, EncryptedSerializer, Key, KeyErased, encryption_context
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.stores import LocklessStore, open_store


def tenant(number: int) -> dict[str, str]:
    return {"tenant_id": f"tenant-{number}"}


def fork(work: Callable[[], Any]) -> tuple[int, int]:
    """Runs something in a child; its result comes as JSON through the pipe. Gives the child's id and the pipe."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(work(), pipe)
        status = 0
    except BaseException:  # noqa: BLE001 (the child of a fork must not return to the parent's work)
        traceback.print_exc()
    finally:
        os._exit(status)


def result(child: tuple[int, int]) -> Any:
    with os.fdopen(child[1]) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child[0], 0)
    if status:
        sys.exit(f"a process ended with status {status}")
    return json.loads(text)


# --- first use --------------------------------------------------------------------------------------------------------


def first_use(kind: str, place: str, tenants: int, processes: int) -> Any:
    wrapping = Key.generate()
    with open_store(kind, place):
        pass  # creates the tables, before many processes would
    gate, go = os.pipe()

    def one_process() -> Any:
        with open_store(kind, place) as store:
            keyring = TenantKeyring(store, LocalKeyWrapper(wrapping))
            serde = EncryptedSerializer(keyring)
            os.close(go)
            os.read(gate, 1)  # until the parent closes its end: all start at the same moment
            rows = []
            for number in range(tenants):
                with encryption_context(tenant(number)):
                    type_tag, blob = serde.dumps_typed(number)
                rows.append((number, type_tag, blob.hex()))
        return rows

    def primaries() -> Any:
        with open_store(kind, place) as store:
            keyring = TenantKeyring(store, LocalKeyWrapper(wrapping))
            return [keyring.encryption_key(tenant(number)).id.hex() for number in range(tenants)]

    children = [fork(one_process) for _ in range(processes)]
    os.close(go)
    rows = [row for child in children for row in result(child)]
    # A cache that is empty knows what a cache knows that has aged out.
    agreed = [result(child) for child in [fork(primaries) for _ in range(2)]]
    with open_store(kind, place) as store:
        serde = EncryptedSerializer(TenantKeyring(store, LocalKeyWrapper(wrapping)))
        lost = 0
        used: dict[int, set[str]] = {number: set() for number in range(tenants)}
        for number, type_tag, blob in rows:
            data = bytes.fromhex(blob)
            used[number].add(data[2:34].hex())
            try:
                lost += serde.loads_typed((type_tag, data)) != number
            except EncryptedSerdeError:
                lost += 1
    return {
        "rows": len(rows),
        "lost": lost,
        "keys in use per tenant": [len(keys) for keys in used.values()],
        "one primary each": agreed[0] == agreed[1],
    }


# --- dying in the act -------------------------------------------------------------------------------------------------


class Fuse:
    """Kills the process at the n-th step. A step is a call to the key service, or a statement sent to the database."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def lay(self, store: Any) -> None:
        """Makes the database's statements steps."""
        inner = store.inner if isinstance(store, LocklessStore) else store
        if isinstance(inner.conn, psycopg.Connection):
            execute = psycopg.Cursor.execute

            def counted(cursor: Any, *args: Any, **options: Any) -> Any:
                self.step()
                answer = execute(cursor, *args, **options)
                self.step()
                return answer

            psycopg.Cursor.execute = counted  # type: ignore[method-assign]
        else:
            inner.conn.set_trace_callback(self.step)  # before each statement, BEGIN and COMMIT included


class Service(LocalKeyWrapper):
    """The key service; each call is a step."""

    fuse = Fuse(0)

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        self.fuse.step()
        return super().wrap(secret, context)

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        self.fuse.step()
        return super().unwrap(wrapped, context)


def kill(kind: str, place: str, operation: str) -> Any:
    """Kills an operation at its first step, at its second, and so on, until it is over before the fuse has burnt down."""
    keys = [Key.generate(), Key.generate()]
    reports = []
    rows: Any = None
    for step in range(1, 1000):
        # Rewrapping is of all tenants, so there is one, whose keys go from one wrapping key to the other and back.
        context = tenant(0 if operation == "rewrap" else step)
        if rows is None or operation != "rewrap":
            rows = result(fork(lambda: _write(kind, place, keys, context)))  # noqa: B023
        child, pipe = fork(lambda: _operate(kind, place, keys, context, operation, step))  # noqa: B023
        _, status = os.waitpid(child, 0)
        os.close(pipe)
        killed = os.WIFSIGNALED(status)
        after = result(fork(lambda: _read(kind, place, keys, rows)))  # noqa: B023
        result(fork(lambda: _operate(kind, place, keys, context, operation, 0)))  # noqa: B023
        if operation == "rewrap":
            keys.reverse()
        again = result(fork(lambda: _read(kind, place, keys[:1], rows)))  # noqa: B023
        reports.append({"step": step, "killed": killed, "after": after, "again": again})
        if not killed:
            return reports
    raise RuntimeError("never completed")


def _keyring(store: Any, keys: list[Key]) -> TenantKeyring:
    """Wraps under the first key, and knows the others."""
    return TenantKeyring(store, Service(keys[0]), unwrap_only=[Service(key) for key in keys[1:]])


def _write(kind: str, place: str, keys: list[Key], context: dict[str, str]) -> Any:
    """Writes rows of three generations."""
    rows = []
    with open_store(kind, place) as store, encryption_context(context):
        keyring = _keyring(store, keys)
        serde = EncryptedSerializer(keyring)
        for generation in range(3):
            type_tag, blob = serde.dumps_typed(generation)
            rows.append((generation, type_tag, blob.hex()))
            if generation < 2:
                keyring.rotate(context)
    return rows


def _operate(kind: str, place: str, keys: list[Key], context: dict[str, str], operation: str, step: int) -> Any:
    with open_store(kind, place) as store:
        # Rewrapping goes from the first key to the second.
        keyring = _keyring(store, keys[::-1] if operation == "rewrap" else keys)
        Service.fuse = Fuse(step)
        Service.fuse.lay(store)
        keyring.rewrap() if operation == "rewrap" else getattr(keyring, operation)(context)


def _read(kind: str, place: str, keys: list[Key], rows: Any) -> Any:
    """Says of each row whether it is readable, erased, or what else."""
    states = []
    with open_store(kind, place) as store:
        serde = EncryptedSerializer(_keyring(store, keys))
        for generation, type_tag, blob in rows:
            try:
                value = serde.loads_typed((type_tag, bytes.fromhex(blob)))
                states.append("readable" if value == generation else "wrong")
            except KeyErased:
                states.append("erased")
            except EncryptedSerdeError as error:
                states.append(type(error).__name__)
    return states


def main(command: str, kind: str, place: str, *rest: str) -> None:
    report = first_use(kind, place, *map(int, rest)) if command == "first-use" else kill(kind, place, rest[0])
    json.dump(report, sys.stdout)
