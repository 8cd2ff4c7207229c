"""What contributors and `.ci/run` do, each in a virtual environment of its own: ``nox -l`` lists it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "docs", "package", "test"]
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
BUILT = Path("build")
ROOT = Path(__file__).parent
WITHOUT_SAVERS = (
    "tests/core",
    "tests/wrapping",
    "tests/vectors",
    "tests/test_serializer.py",
    "tests/test_sealer.py",
    "tests/test_bad_input.py",
)


@nox.session(python=PYTHONS)
def test(session: nox.Session) -> None:
    """The tests on every Python that is installed, with the newest dependencies."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


@nox.session(python=["3.10", "3.12"])
def test_lowest(session: nox.Session) -> None:
    """The tests with the oldest release of everything that we ask for: uv finds them in seconds, pip not within ten minutes."""
    _install_by_uv(session, ".[test]", "--resolution", "lowest-direct")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)
    # PostgresSaver holds langgraph-checkpoint back. Our own lowest release is enough for all that needs no such saver.
    _uv(session, "--no-deps", "langgraph-checkpoint==4.1.0")
    session.run("python", "-m", "pytest", "-n", "auto", *WITHOUT_SAVERS)
    session.run("python", "examples/quickstart.py")


@nox.session
def prerelease(session: nox.Session) -> None:
    """The tests with the newest release of everything, pre-releases too: what will break next."""
    _install_by_uv(session, ".[test]", "--prerelease", "allow", "--upgrade", "httpx<1")
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)


def _install_by_uv(session: nox.Session, *options: str) -> None:
    """Installs what pip takes minutes to resolve."""
    session.install("uv")
    _uv(session, "-e", *options)


def _uv(session: nox.Session, *options: str) -> None:
    session.run("uv", "pip", "install", "--python", session.virtualenv.location, *options)


@nox.session
def integrations(session: nox.Session) -> None:
    """The guides to libraries that the other tests do not install: deepagents, langmem."""
    _install_by_uv(session, ".[test-integrations]")
    session.run("python", "-c", "import deepagents, langmem")
    session.run("python", "-m", "pytest", "tests/test_docs.py", "tests/view/test_agents.py", *session.posargs)


@nox.session
def upstream_stores(session: nox.Session) -> None:
    """LangGraph's own tests of its stores, out of its source packages, on each store and on the same store encrypted."""
    _install_by_uv(session, ".[test]", "pytest-retry>=1.7", "pytest-mock")
    session.run("python", "-m", "tests.store.upstream", *session.posargs)


@nox.session
def server_prerelease(session: nox.Session) -> None:
    """The tests of Agent Server with the newest pre-release of the server; skipped where none can be had."""
    session.install("-e", ".[test]")
    newest = ["langgraph-api>=0.18.0.dev0", "langgraph-runtime-inmem>=0.38.0.dev0", "langgraph-cli[inmem]", "httpx<1"]
    try:
        session.install("--pre", "--upgrade", *newest)
    except nox.command.CommandFailed:
        session.skip("no pre-release of langgraph-api can be installed here")
    session.run("python", "-m", "pytest", "tests/agent_server", "tests/test_legacy_envelope.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The site. Warnings are errors: a link that leads nowhere, a public name without its docstring."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-b", "html", "docs", str(BUILT / "docs"))


@nox.session
def package(session: nox.Session) -> None:
    """Wheel and sdist, and the wheel's types as a user's project sees them."""
    session.install("build", "twine")
    session.run("python", "-m", "build", "--outdir", str(BUILT / "dist"))
    session.run("twine", "check", "--strict", *map(str, (BUILT / "dist").glob("encrypted_serde-*")))
    newest = max((BUILT / "dist").glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    session.install("--force-reinstall", "--no-deps", str(newest))
    session.install(f"encrypted-serde[cli] @ {newest.resolve().as_uri()}", "mypy", "pyright")
    # In a folder of its own: beside the repository's sources a type checker would read those, and not what is installed.
    folder = Path(session.create_tmp())
    shutil.copytree(ROOT / "tests" / "user_project", folder, dirs_exist_ok=True)
    with session.chdir(folder):
        session.run("mypy", "--strict", "app.py")
        session.run("pyright", "app.py")


@nox.session
def sbom(session: nox.Session) -> None:
    """A bill of materials (CycloneDX) and a list of licences of what an installation brings with it."""
    session.install("cyclonedx-bom", "pip-licenses")
    runtime = Path(session.create_tmp()) / "runtime"  # without the two tools, and without pip
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(runtime))
    python = str(runtime / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run("python", "-m", "pip", "--quiet", "--python", python, "install", ".")
    BUILT.mkdir(exist_ok=True)
    session.run("cyclonedx-py", "environment", "--pyproject", "pyproject.toml", "-o", str(BUILT / "sbom.cdx.json"), python)
    session.run("pip-licenses", "--python", python, "--with-urls", "--format", "markdown")


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark once, to see that it runs; ``-- report`` measures, ``-- ratios`` compares with the targets."""
    session.install("-e", ".[bench]")
    if session.posargs:
        session.run("python", "-m", "benchmarks", *session.posargs)
        return
    session.run("python", "-m", "pytest", "benchmarks", "--benchmark-disable", "-q")
    session.run("python", "-m", "benchmarks", "report", "--smoke", "--out", str(BUILT / "benchmarks"))


@nox.session
def fuzz(session: nox.Session) -> None:
    """A minute for every target in ``fuzz/``; ``-- --seconds 3600`` gives each an hour."""
    session.install("-e", ".[fuzz]")
    if session.run("python", "-c", "import atheris", success_codes=[0, 1], silent=True):
        session.skip("Atheris has no build for this Python or system")
    session.run("python", "-m", "fuzz", *session.posargs)


@nox.session
def mutation(session: nox.Session) -> None:
    """Breaks rows, anchor and admission, one place at a time, and lists what no test noticed. ``MUTANTS=0.1`` tries a tenth.

    ``docs/mutation.md`` explains the list.
    """
    session.install("-e", ".[test]", "mutmut>=3.8")
    session.run("python", "tests/mutation.py", *session.posargs)
    session.run("mutmut", "results")
