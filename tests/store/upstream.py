"""LangGraph's own tests of its stores, run on the plain store and on the same store wrapped. Both runs must come out alike.

The tests are in the source packages: ``nox -s upstream_stores`` downloads them and calls
``python -m tests.store.upstream DIRECTORY``. As a plugin of pytest this module wraps what ``from_conn_string`` of a store
returns, and writes down how each test ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore

from encrypted_serde import EncryptedStore, Key
from tests.postgres import wheel_postgres

_WRAP, _OUTCOMES = "UPSTREAM_WRAP", "UPSTREAM_OUTCOMES"
_KEY = Key.generate()
_URIS = ("postgres://postgres:postgres@localhost:5441/postgres?sslmode=disable", "postgres://postgres:postgres@localhost:5441/")


class Wrapped(EncryptedStore):
    """Ours, with whatever else a test takes from the store that it opened."""

    def __getattr__(self, name: str) -> Any:
        if name in ("inner", "_followed"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "MIGRATIONS":  # a test changes a column, of the inner store's tables
            setattr(self.inner, name, value)
        else:
            super().__setattr__(name, value)


def wrap(store: BaseStore) -> BaseStore:
    """Wraps a store as an application would."""
    return Wrapped(store, _KEY, readable_embeddings=True)


def pytest_configure(config: pytest.Config) -> None:
    """Wraps what is opened, if that is asked for."""
    if not os.environ.get(_WRAP):
        return
    from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
    from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore

    for cls in (PostgresStore, SqliteStore):
        _replace(cls, contextmanager(_opening(cls.from_conn_string)))
    for async_cls in (AsyncPostgresStore, AsyncSqliteStore):
        _replace(async_cls, asynccontextmanager(_async_opening(async_cls.from_conn_string)))


def _replace(cls: Any, opening: Any) -> None:
    cls.from_conn_string = staticmethod(opening)


def _opening(original: Any) -> Any:
    def opened(*arguments: Any, **options: Any) -> Iterator[Any]:
        with original(*arguments, **options) as store:
            yield wrap(store)

    return opened


def _async_opening(original: Any) -> Any:
    async def opened(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        async with original(*arguments, **options) as store:
            yield wrap(store)

    return opened


_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes how a test ended."""
    if report.when == "call" or report.outcome != "passed":
        _outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Writes down how all tests ended."""
    if path := os.environ.get(_OUTCOMES):
        Path(path).write_text(json.dumps(_outcomes))


def outcomes(folder: Path, *, wrapped: bool, env: dict[str, str]) -> dict[str, str]:
    """Runs the tests of the stores in an unpacked package."""
    found = folder / "outcomes.json"
    names = sorted(path.name for path in (folder / "tests").glob("test_*store*.py"))
    env = {**os.environ, **env, _OUTCOMES: str(found), "PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"}
    command = [sys.executable, "-c", _RUN, *(f"tests/{name}" for name in names)]
    subprocess.run(command, cwd=folder, env={**env, _WRAP: "1" if wrapped else ""}, check=False)
    ended: dict[str, str] = json.loads(found.read_text())
    return ended


# Their package of tests is called "tests" as ours is: this module is loaded by its path.
_RUN = f"""
import importlib.util, sys, pytest
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import tests.postgres, tests.store.upstream as plugin
for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
    del sys.modules[name]
sys.path.pop(0)
sys.path.insert(0, "")
raise SystemExit(pytest.main(["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", *sys.argv[1:]], plugins=[plugin]))
"""


def main(directory: Path) -> int:
    """Runs the tests of every source package in a directory, and says which end otherwise when the store is wrapped."""
    wrong = 0
    for package in sorted(directory.glob("langgraph*checkpoint*.tar.gz")):
        with tempfile.TemporaryDirectory() as place, wheel_postgres() as dsn:
            with tarfile.open(package) as archive:
                archive.extractall(place, filter="data") if sys.version_info >= (3, 12) else archive.extractall(place)
            [folder] = Path(place).iterdir()
            for path in (folder / "tests").glob("*.py"):
                text = path.read_text()
                for uri in _URIS:
                    text = text.replace(uri, "postgres:///" + ("postgres" if uri.endswith("disable") else ""))
                path.write_text(text)
            env = {"PGHOST": dsn.partition("host=")[2], "PGUSER": "postgres"}
            plain, ours = (outcomes(folder, wrapped=wrapped, env=env) for wrapped in (False, True))
        changed = [name for name, outcome in plain.items() if ours.get(name) != outcome]
        print(f"{package.name}: {[*plain.values()].count('passed')} passed plain, {[*ours.values()].count('passed')} wrapped")
        for name in changed:
            print(f"  {name}: {plain[name]} plain, {ours.get(name)} wrapped")
        wrong += len(changed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
