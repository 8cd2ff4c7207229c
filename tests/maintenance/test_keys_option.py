"""The commands with the application's own keys: `--keys`, `--database-name`, and totals where there are many keys."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore

from encrypted_serde import EncryptedSaver, Key, Keyring, encryption_context
from encrypted_serde.cli.app import make_app
from encrypted_serde.cli.app import run as run_command
from encrypted_serde.kms.local import LocalKeyWrapper
from encrypted_serde.tenants.keyring import TenantKeyring

TENANTS = 12


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in a directory of its own, without keys in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("ENCRYPTED_SERDE_KEY", "ENCRYPTED_SERDE_DECRYPT_KEYS", "ENCRYPTED_SERDE_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(arguments)
        shown = capsys.readouterr()
        return Done(int(ended.value.code or 0), shown.out, shown.err)

    return call


def store_checkpoint(place: Path, keys: Any, thread: str, **context: str) -> None:
    with closing(sqlite3.connect(place)) as connection, encryption_context(context):
        saver = EncryptedSaver(SqliteSaver(connection), keys)
        checkpoint: Any = {**empty_checkpoint(), "v": 4, "channel_values": {"a": "secret"}, "channel_versions": {"a": "1"}}
        saver.put({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, checkpoint, {"step": 1}, {"a": "1"})


@pytest.fixture
def tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TenantKeyring:
    """A database of many tenants, and the module that the application has its keys in."""
    keys = TenantKeyring(InMemoryStore(), LocalKeyWrapper(Key.generate()))
    for number in range(TENANTS):
        store_checkpoint(tmp_path / "app.db", keys, f"thread {number}", tenant_id=f"t{number}")
    module: Any = type(sys)("keys_of_the_app")
    module.keys, module.key = keys, Key.generate()
    monkeypatch.setitem(sys.modules, "keys_of_the_app", module)
    return keys


def test_scan_knows_which_key_each_tenant_writes_with(run: Callable[..., Done], tenants: TenantKeyring) -> None:
    keys = ("--keys", "keys_of_the_app:keys")
    assert run("scan", "app.db", *keys, "--fail-on", "old-key").code == 0
    tenants.rotate({"tenant_id": "t3"})
    done = run("scan", "app.db", *keys, "--fail-on", "old-key", "--json")
    assert done.code == 3
    found = json.loads(done.out)
    per_tenant = found["totals"]["values"] // TENANTS
    assert found["problems"]["old-key"] == per_tenant


def test_scan_makes_no_key_for_a_tenant_that_was_erased(run: Callable[..., Done], tenants: TenantKeyring) -> None:
    tenants.erase({"tenant_id": "t3"})
    assert run("scan", "app.db", "--keys", "keys_of_the_app:keys").code == 0
    assert tenants.current_key_id({"tenant_id": "t3"}) is None


def test_many_keys_are_added_up_unless_each_is_asked_for(run: Callable[..., Done], tenants: TenantKeyring) -> None:
    totals, lines = run("scan", "app.db").out, run("scan", "app.db", "--by-key").out
    assert f"{TENANTS} keys" in totals
    assert len(totals.splitlines()) < 15
    assert len(lines.splitlines()) > 2 * TENANTS
    assert run("scan", "app.db", "--by-context").out.count("tenant_id=") >= TENANTS


@pytest.mark.parametrize("command", ["verify", "reencrypt"])
def test_the_keys_of_the_application_open_its_database(run: Callable[..., Done], tenants: TenantKeyring, command: str) -> None:
    assert run(command, "app.db", "--keys", "keys_of_the_app:keys").code == 0
    assert run(command, "app.db").code == 1  # there are none in the environment


@pytest.mark.parametrize("command", ["scan", "verify", "reencrypt", "prove-erased"])
@pytest.mark.parametrize("name", ["keys_of_the_app", "keys_of_the_app:none", "no_such_module:keys", ":keys", "json:dumps"])
def test_keys_that_are_none_are_an_error(run: Callable[..., Done], tenants: TenantKeyring, command: str, name: str) -> None:
    done = run(command, "app.db", "--keys", name)
    assert done.code == 1
    assert done.err.startswith("encrypted-serde: ConfigurationError: --keys")


def test_the_commands_take_the_name_of_the_database(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Key.generate()
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", key.to_text())
    store_checkpoint(tmp_path / "app.db", Keyring.from_env().for_database("production"), "1")
    for command in ("verify", "reencrypt"):
        assert run(command, "app.db").code == 3
        assert run(command, "app.db", "--database-name", "staging").code == 3
        assert run(command, "app.db", "--database-name", "production").code == 0
    named = run("key-id", "--database-name", "production").out.strip()
    assert named == key.for_database("production").id.hex()
    (tmp_path / "key").write_text(key.to_text())
    assert run("key-id", "key", "--database-name", "production").out.strip() == named
    monkeypatch.setenv("ENCRYPTED_SERDE_DATABASE", "production")
    assert run("verify", "app.db").code == 0
    assert run("scan", "app.db", "--fail-on", "old-key").code == 0


@pytest.mark.parametrize("name", ["keys", "key"])
def test_keys_of_the_application_are_used_as_they_are_and_take_no_name(
    run: Callable[..., Done], tenants: TenantKeyring, name: str
) -> None:
    done = run("reencrypt", "app.db", "--keys", f"keys_of_the_app:{name}", "--database-name", "production")
    assert (done.code, "--database-name" in done.err) == (1, True)


def test_a_module_of_keys_that_fails_shows_nothing_of_its_error(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "failing_keys.py").write_text("raise RuntimeError('postgresql://app:password@db')")
    done = run("verify", "app.db", "--keys", "failing_keys:keys")
    assert (done.code, "password" in done.err, "RuntimeError" in done.err) == (1, False, True)
    assert "no module missing_keys" in run("verify", "app.db", "--keys", "missing_keys:keys").err
    assert "MODULE:NAME" in run("verify", "app.db", "--keys", "failing_keys").err


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


ANCHOR = ["anchor accept", "anchor init", "anchor rekey", "anchor status"]


@pytest.mark.parametrize("name", [*ANCHOR, "expire", "find", "reencrypt", "scan", "show", "verify", "view"])
def test_every_command_on_a_database_takes_keys_and_the_name_of_the_database(name: str) -> None:
    found = dict(commands(typer.main.get_command(make_app())))
    options = {option for parameter in found[name].params for option in parameter.opts}
    assert {"--keys", "--database-name"} <= options


def test_no_command_on_a_database_is_left_out_of_that() -> None:
    with_database = {
        name
        for name, command in commands(typer.main.get_command(make_app()))
        if any(parameter.name == "database" for parameter in command.params)
    }
    listed = {"anchor accept", "anchor init", "anchor status", "expire", "find", "reencrypt", "scan", "show", "verify", "view"}
    assert with_database - listed == {"prove-erased"}  # whose keys have a key store of their own
