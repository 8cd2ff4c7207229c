"""An erasure that can be shown: by the function, and by the command with the application's own keyring."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from encrypted_serde import ConfigurationError, EncryptedSaver, Key, KeyServiceError, encryption_context
from encrypted_serde.maintenance import prove_erased
from encrypted_serde.tenants.keyring import TenantKeyring
from tests.tenants.services import CountingWrapper

ACME, GLOBEX = {"tenant_id": "acme-9183"}, {"tenant_id": "globex"}

APP_KEYS = """
import os, sqlite3
from langgraph.store.sqlite import SqliteStore
from encrypted_serde import Key, LocalKeyWrapper, TenantKeyring
store = SqliteStore(sqlite3.connect("keys.sqlite", check_same_thread=False, isolation_level=None))
store.setup()
keys = TenantKeyring(store, LocalKeyWrapper(Key.from_text(os.environ["WRAPPING_KEY"])))
"""


def converse(database: Path, keys: TenantKeyring) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [("ai", "noted")]})
    builder.add_edge(START, "answer")
    with closing(sqlite3.connect(database, check_same_thread=False)) as connection:
        graph = builder.compile(checkpointer=EncryptedSaver(SqliteSaver(connection), keys))
        for context in (ACME, GLOBEX):
            with encryption_context(context):
                config: Any = {"configurable": {"thread_id": f"thread of {context['tenant_id']}"}}
                graph.invoke({"messages": [("human", "a secret")]}, config)


@pytest.fixture
def database(tmp_path: Path, keyring: TenantKeyring) -> Path:
    converse(tmp_path / "app.db", keyring)
    return tmp_path / "app.db"


def test_the_values_under_destroyed_keys_are_counted_and_none_can_be_read(database: Path, keyring: TenantKeyring) -> None:
    erased = keyring.erase(ACME)
    proof = prove_erased(database, keyring, erased.tombstones)
    [number] = proof.values.values()
    assert number > 5
    assert proof.outcomes == {"KeyErased": number}
    assert (proof.key_store, proof.key_services) == ("key store (InMemoryStore)", [keyring._wrappers._wrapper.name])
    document = proof.document()
    assert (document["verdict"], document["result"]["values"]) == ("passed", {erased.key_ids[0].hex(): number})
    assert "acme-9183" not in json.dumps(document["result"])


def test_a_restored_backup_is_as_unreadable_as_the_database(database: Path, keyring: TenantKeyring) -> None:
    backup = shutil.copy(database, database.with_suffix(".backup"))
    erased = keyring.erase(ACME)
    with closing(sqlite3.connect(database)) as connection:
        for table in ("checkpoints", "writes"):
            connection.execute(f"DELETE FROM {table} WHERE thread_id LIKE '%acme%'")
        connection.commit()
    removed = prove_erased(database, keyring, erased.tombstones)
    assert (sum(removed.values.values()), removed.document()["verdict"]) == (0, "failed")
    assert prove_erased(database, keyring, erased.tombstones, allow_empty=True).document()["verdict"] == "passed"
    proof = prove_erased(backup, keyring, erased.tombstones)
    assert proof.outcomes.keys() == {"KeyErased"}


def test_a_key_that_is_still_there_is_no_erasure(database: Path, keyring: TenantKeyring) -> None:
    proof = prove_erased(database, keyring, [keyring.encryption_key(GLOBEX).id])
    assert proof.outcomes.keys() == {"readable"}
    assert proof.document()["verdict"] == "failed"


def test_a_key_service_that_does_not_answer_is_no_proof(
    database: Path, keyring: TenantKeyring, wrapper: CountingWrapper
) -> None:
    key_id = keyring.encryption_key(GLOBEX).id
    cold = TenantKeyring(keyring._store.base, wrapper)
    wrapper.down = True
    with pytest.raises(KeyServiceError):
        prove_erased(database, cold, [key_id])


@pytest.mark.parametrize("key_ids", [[], [b"short"]])
def test_key_ids_that_are_none_are_refused(database: Path, keyring: TenantKeyring, key_ids: list[bytes]) -> None:
    with pytest.raises(ConfigurationError):
        prove_erased(database, keyring, key_ids)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a directory with an application, whose tenant acme was erased."""
    (tmp_path / "app_keys.py").write_text(APP_KEYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WRAPPING_KEY", Key.generate().to_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    exec(APP_KEYS, names)
    converse(tmp_path / "app.db", names["keys"])
    (tmp_path / "erasure.json").write_text(json.dumps(names["keys"].erase(ACME).as_dict()))
    (tmp_path / "live.hex").write_text(names["keys"].encryption_key(GLOBEX).id.hex())
    names["store"].conn.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "encrypted_serde", "prove-erased", *arguments]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_the_command_writes_evidence(command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = command("app.db", "--erasure", "erasure.json", "--keys", "app_keys:keys", "--report", "evidence.json")
    assert done.returncode == 0, done.stderr
    assert "KeyErased" in done.stdout
    assert "not compared: processes that run" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("OK: these keys are erased")
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    assert (evidence["command"], evidence["verdict"], evidence["exit_code"]) == ("prove-erased", "passed", 0)
    assert evidence["result"]["outcomes"].keys() == {"KeyErased"}


def test_the_command_fails_if_something_can_be_read(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = command("app.db", "--key-id", (tmp_path / "live.hex").read_text(), "--keys", "app_keys:keys")
    assert done.returncode == 3
    assert "can be read" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--key-id", "abc", "--keys", "app_keys:keys"],
        ["--erasure", "app_keys.py", "--keys", "app_keys:keys"],
        ["--keys", "app_keys:keys"],
        ["--key-id", "00" * 32, "--keys", "app_keys:store"],
        ["--key-id", "00" * 32, "--keys", "app_keys"],
        ["--key-id", "00" * 32, "--keys", "no_such_module:keys"],
        ["--key-id", "00" * 32],
    ],
)
def test_the_command_says_what_is_wrong_with_an_option(
    command: Callable[..., subprocess.CompletedProcess[str]], arguments: list[str]
) -> None:
    done = command("app.db", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("encrypted-serde: ConfigurationError: ")


def test_a_report_that_cannot_be_written_is_refused_before_the_work_is_done(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = command("app.db", "--key-id", "00" * 32, "--keys", "app_keys:keys", "--report", "none/report.json")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
