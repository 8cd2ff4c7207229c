"""LangGraph's own tests of its stores, run on the plain store and on the same store wrapped: what passes there must pass here.

The tests are in the source packages on the package index: ``nox -s upstream_stores`` calls ``python -m tests.store.upstream``,
which downloads and runs them. As a plugin of pytest this module wraps what ``from_conn_string`` of a store returns, and writes
down how each test ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
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
        if name == "inner":
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


def outcomes(folder: Path, tests: list[str], *, wrapped: bool, env: dict[str, str]) -> dict[str, str]:
    """Runs tests in an unpacked package, and returns how each of them ended."""
    found = folder / "outcomes.json"
    env = {**os.environ, **env, _OUTCOMES: str(found), "PYTHONPATH": f"{folder}{os.pathsep}{_ROOT}"}
    subprocess.run([sys.executable, "-c", _RUN, *tests], cwd=folder, env={**env, _WRAP: "1" if wrapped else ""}, check=False)
    ended: dict[str, str] = json.loads(found.read_text())
    return ended


_ROOT = Path(__file__).parents[2]
# Their package of tests is called "tests" as ours is: this module is loaded by its path.
_RUN = f"""
import sqlite3, sys, pytest
if not hasattr(sqlite3.Connection, "enable_load_extension"):  # some builds of Python have none: no vectors in SQLite
    import pysqlite3
    sys.modules["sqlite3"] = pysqlite3
sys.path.insert(0, {str(_ROOT)!r})
import tests.postgres, tests.store.upstream as plugin
for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
    del sys.modules[name]
sys.path.pop(0)
sys.path.insert(0, "")
options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "asyncio_mode=auto", "-W", "ignore"]
raise SystemExit(pytest.main([*options, *sys.argv[1:]], plugins=[plugin]))
"""


def download(package: str, directory: Path) -> Path:
    """Downloads the source package of the release that is installed."""
    release = f"{package}=={version(package)}"
    options = ["--quiet", "--no-deps", "--no-binary", package, "--dest", str(directory)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, release], check=True)
    [found] = directory.glob(f"{package.replace('-', '_')}-*.tar.gz")
    return found


def unpack(package: Path, directory: Path) -> Path:
    """Unpacks a source package. Its tests reach the server where the environment says."""
    with tarfile.open(package) as archive:
        archive.extractall(directory, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(directory)
    folder = directory / package.name.removesuffix(".tar.gz")
    for path in (folder / "tests").glob("*.py"):
        text = path.read_text()
        for uri in _URIS:
            text = text.replace(uri, "postgres:///" + ("postgres" if uri.endswith("disable") else ""))
        path.write_text(text)
    return folder


def compare(package: str, directory: Path) -> int:
    """Runs the tests of the stores of a package, plain and wrapped, and returns how many only the plain store passes."""
    folder = unpack(download(package, directory), directory)
    tests = sorted(f"tests/{path.name}" for path in (folder / "tests").glob("test_*.py") if _OF_STORES.search(path.name))
    with wheel_postgres() as dsn:
        env = {"PGHOST": dsn.partition("host=")[2], "PGUSER": "postgres"}
        plain, ours = (outcomes(folder, tests, wrapped=wrapped, env=env) for wrapped in (False, True))
        failed = _failed(plain, ours)
        if failed:  # some wait for a clock of seconds, and fail on a busy machine: they get a second run
            failed = _failed(plain, ours | outcomes(folder, failed, wrapped=True, env=env))
    print(f"{folder.name}: {[*plain.values()].count('passed')} passed plain, {[*ours.values()].count('passed')} wrapped")
    for name in failed:
        print(f"  {name} passed plain, and failed wrapped")
    return len(failed)


def _failed(plain: dict[str, str], ours: dict[str, str]) -> list[str]:
    return [name for name, outcome in plain.items() if outcome == "passed" and ours.get(name) != "passed"]


_OF_STORES = re.compile(r"store|ttl")


def main() -> int:
    """Says which tests of LangGraph pass on the plain store alone."""
    with tempfile.TemporaryDirectory() as directory:
        packages = sys.argv[1:] or ["langgraph-checkpoint-sqlite", "langgraph-checkpoint-postgres"]
        return 1 if sum(compare(package, Path(directory)) for package in packages) else 0


if __name__ == "__main__":
    sys.exit(main())
