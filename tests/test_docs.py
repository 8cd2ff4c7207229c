"""What the documents show runs as it stands, and what they list is all there is."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient
from psycopg.conninfo import conninfo_to_dict

from encrypted_serde import SqliteAnchor
from tests import prose

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *GUIDES]
OPTIONAL = ("deepagents", "langmem")
"""Guides to libraries that are tested where they are installed: ``nox -s integrations`` installs them."""
FRONT = """
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from encrypted_serde import EncryptedSaver, Keyring

builder = StateGraph(MessagesState).add_node("end", lambda state: {}).add_edge(START, "end")
connection = None  # the saver connects when it is used
"""
"""What the two lines on the front page take as given. Every other page shows complete programs alone."""

FILE = re.compile(r"^# file: (\w+\.py)$", re.MULTILINE)
"""The first line of a block that is a file of a larger application. It may import the files before it on its page."""

PUBLIC = (
    "encrypted_serde",
    "encrypted_serde.agent_server",
    "encrypted_serde.anchor",
    "encrypted_serde.errors",
    "encrypted_serde.maintenance",
    "encrypted_serde.saver",
    "encrypted_serde.store",
    "encrypted_serde.view",
)


WRAPPERS = {
    f"encrypted_serde.kms.{module}": (name,) for module, name in (("vault", "VaultKeyWrapper"), ("aws", "AwsKeyWrapper"))
}
"""Key services whose client is installed for the tests anyway."""


def snippets(page: Path) -> list[tuple[str, str]]:
    """Every block of Python on a page, under the heading and number by which a test names it."""
    found, heading = [], page.stem
    for title, code in re.findall(r"^#+ ([^\n]*)$|^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        heading = title or heading
        if code:
            found.append((f"{page.stem}: {heading}, {len(found) + 1}", code))
    return found


LEFT_OUT = {name for name in OPTIONAL if find_spec(name) is None}
SNIPPETS = [one for page in PAGES if page.stem not in LEFT_OUT for one in snippets(page)]
FILES = {page.stem: [code for _, code in snippets(page) if FILE.match(code)] for page in PAGES}


@pytest.fixture
def set_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and the variables that the pages tell a reader to set."""
    from encrypted_serde import Key

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", Key.generate().to_text())
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    stand_in = ModuleType("langgraph_api.encryption.context")  # the server's own needs its whole environment
    stand_in.get_encryption_context = lambda: {"tenant_id": "acme"}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    if "DATABASE_URL" in request.node.callspec.params["code"]:
        parameters = conninfo_to_dict(request.getfixturevalue("postgres_database"))
        monkeypatch.setenv("DATABASE_URL", f"postgresql:///?{urlencode(parameters)}")


@pytest.fixture
def names(
    request: pytest.FixtureRequest, set_up: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """The names that a block finds: none, but on the front page; and the files of its page, as modules beside it."""
    found: dict[str, Any] = {"__name__": "__main__"}
    page = request.node.callspec.params["name"].partition(":")[0]
    monkeypatch.syspath_prepend(tmp_path)
    for code in FILES[page]:
        (tmp_path / FILE.findall(code)[0]).write_text(code)
        monkeypatch.delitem(sys.modules, FILE.findall(code)[0].removesuffix(".py"), raising=False)
    if page == "index":
        exec(FRONT, found)
    yield found
    modules = [vars(sys.modules.get(FILE.findall(code)[0].removesuffix(".py"), sys)) for code in FILES[page]]
    for value in [value for names in (found, *modules) for value in names.values()]:
        if isinstance(value, (sqlite3.Connection, SqliteAnchor)):  # which an application keeps open until it ends
            value.close()


@pytest.mark.parametrize(("name", "code"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
@pytest.mark.filterwarnings("default::DeprecationWarning")  # of the libraries that a page is about
@pytest.mark.filterwarnings("default:The Encryption API is in beta")  # of langgraph_sdk
def test_a_program_on_a_page_runs_when_it_is_pasted_alone(name: str, code: str, names: dict[str, Any], tmp_path: Path) -> None:
    if "settings.configure(" not in code:
        exec(compile(code, name, "exec", dont_inherit=True), names)
        return
    (tmp_path / "page.py").write_text(code)  # Django is set up once in a process
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "code"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
def test_a_program_on_a_page_fits_a_narrow_window(name: str, code: str) -> None:
    assert [line for line in code.splitlines() if len(line) > 88] == []


def test_the_pages_have_programs_for_sqlite_postgres_and_a_web_framework() -> None:
    shown = "".join(code for _, code in SNIPPETS)
    assert [one for one in ("SqliteSaver", "PostgresSaver", "FastAPI", "encryption_context") if one not in shown] == []
    assert len([name for name, _ in SNIPPETS if name.startswith("migration")]) >= 8


def test_the_notebook_is_what_its_page_shows() -> None:
    cells = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    [(_, shown)] = snippets(ROOT / "docs" / "guides" / "sqlite-notebook.md")
    assert shown.rstrip() == code


def test_the_variables_of_the_langsmith_page_hide_inputs_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    from langsmith import Client, utils

    page = (ROOT / "docs" / "guides" / "langsmith.md").read_text()
    for name in re.findall(r"(LANGSMITH_HIDE_\w+)=true", page):
        monkeypatch.setenv(name, "true")
    utils.get_env_var.cache_clear()
    client = Client(api_key="none", auto_batch_tracing=False)
    assert (client._hide_run_inputs({"account": "DE89"}), client._hide_run_outputs({"sent": 250})) == ({}, {})
    monkeypatch.undo()
    utils.get_env_var.cache_clear()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    if f"automodule:: {module}\n```" in reference:
        return
    names = importlib.import_module(module).__all__
    listed = re.findall(r"auto\w+:: encrypted_serde[\w.]*\.(\w+)", reference)
    errors = importlib.import_module("encrypted_serde.errors")
    assert [name for name in names if name not in listed and not hasattr(errors, name)] == []


GUIDE_TEXT = "".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize(
    "module", [name for name in PUBLIC if name != "encrypted_serde.errors"]
)  # they have a test of their own
def test_every_public_name_is_named_by_a_guide(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert [name for name in names if not re.search(rf"\b{name}\b", GUIDE_TEXT)] == []


@pytest.mark.parametrize("module", ["encrypted_serde", "encrypted_serde.agent_server", *WRAPPERS])
def test_every_option_of_a_public_constructor_is_named_by_a_guide(module: str) -> None:
    public = importlib.import_module(module)
    found = [getattr(public, name) for name in getattr(public, "__all__", WRAPPERS.get(module, ()))]
    options = {f"{one.__name__}({option}=)" for one in found if callable(one) for option in _options(one)}
    assert {one for one in options if not re.search(rf"\b{one.partition('(')[2].rstrip('=)')}\b", GUIDE_TEXT)} == set()


def _options(function: Callable[..., Any]) -> list[str]:
    if isinstance(function, type) and issubclass(function, Exception):
        return []
    parameters = inspect.signature(function).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]


def test_the_first_page_of_the_reference_lists_every_name_of_the_package() -> None:
    page = (ROOT / "docs" / "reference" / "index.md").read_text()
    listed = re.findall(r"^   (\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted({*importlib.import_module("encrypted_serde").__all__} - {"Traits"})


def test_every_error_has_its_paragraph_in_troubleshooting() -> None:
    errors = vars(importlib.import_module("encrypted_serde.errors"))
    names = {name for name, one in errors.items() if isinstance(one, type) and issubclass(one, Exception)}
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"\w+", " ".join(re.findall(r"^## ([^\n]*)$", text, re.MULTILINE))))
    assert {name for name in names if not name.startswith("_")} - headings == {"EncryptedSerdeError"}


@pytest.fixture
def web_application(request: pytest.FixtureRequest, set_up: None) -> Iterator[TestClient]:
    """The FastAPI application of the guide, as uvicorn would run it."""
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(request.node.callspec.params["code"], "app.py", "exec", dont_inherit=True), names)
    with TestClient(names["app"]) as client:
        yield client


@pytest.mark.parametrize("code", [code for name, code in SNIPPETS if name.startswith("fastapi:")])
def test_the_web_application_of_the_guide_keeps_tenants_apart(web_application: TestClient, code: str) -> None:
    def talk(tenant: str) -> httpx.Response:
        return web_application.post("/threads/1", params={"text": "hello"}, headers={"X-Tenant": tenant})

    assert [talk("acme").json(), talk("acme").json()] == ["message 1", "message 3"]
    assert talk("globex").status_code == 403
    assert talk("").status_code == 422
    assert talk("acme").json() == "message 5"


ON_WEB_PAGE = [code for name, code in SNIPPETS if name.startswith("web:") and "@app.post(" in code]
DJANGO = [code for _, code in SNIPPETS if "settings.configure(" in code]


@pytest.mark.usefixtures("set_up")
@pytest.mark.parametrize("code", ON_WEB_PAGE)
def test_an_application_of_the_web_page_runs_under_the_tenant_of_the_request(code: str) -> None:
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(code, "app.py", "exec", dont_inherit=True), names)
    client = TestClient(names["app"], raise_server_exceptions=False)

    def talk(tenant: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer ann@{tenant}"}
        return client.post("/threads/1", params={"text": "hello"}, headers=headers)

    assert [talk("acme").json(), talk("acme").json()] == ["message 1", "message 3"]
    assert not talk("globex").is_success
    assert not client.post("/threads/1", params={"text": "hello"}).is_success
    assert len(ON_WEB_PAGE) == 2


@pytest.mark.parametrize("code", DJANGO)
def test_the_django_application_of_the_web_page_answers_a_tenant_alone(code: str, tmp_path: Path) -> None:
    asking = """
import asyncio

import httpx

client = httpx.AsyncClient(transport=httpx.ASGITransport(application, raise_app_exceptions=False), base_url="http://service")
asked = {"text": "hello", "thread": "1"}
with_tenant = asyncio.run(client.get("/chat", params=asked, headers={"Authorization": "Bearer ann@acme"}))
without = asyncio.run(client.get("/chat", params=asked))
print(with_tenant.json(), without.status_code)
"""
    (tmp_path / "page.py").write_text(code + asking)
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "{'answer': 'noted'} 500\n", done.stderr


PATHS = {
    "install": ("start", "1. Install, and generate a key"),
    "migrate": ("migration", "Plaintext, on SQLite"),
    "rotate": ("operations", "Rotating a key"),
    "erase a tenant": ("erasure", "GDPR and erasure"),
    "debug": ("troubleshooting", "Debugging"),
    "performance": ("benchmarks/index", "Performance"),
    "what is not protected": ("threat-model", "Assumptions"),
}
"""What people look for, and the page and heading where they find it, one click from the front page."""


@pytest.mark.parametrize("wanted", PATHS)
def test_the_front_page_leads_to_what_people_look_for(wanted: str) -> None:
    page, heading = PATHS[wanted]
    assert f":link: {page}\n" in (ROOT / "docs" / "index.md").read_text()
    assert re.search(rf"^#+ {re.escape(heading)}$", (ROOT / "docs" / f"{page}.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))])
def test_a_page_is_below_the_two_limits_of_plain_english(page: str) -> None:
    counted = prose.count(page, (ROOT / page).read_text())
    assert counted.average <= prose.MOST_WORDS
    assert counted.hidden <= prose.MOST_RELATIVE


def anchors(page: Path) -> set[str]:
    """The addresses of the headings of a page, as the site and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_link_to_a_heading_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    targets = [(page.parent / name if name else page, heading) for name, heading in links]
    assert [heading for target, heading in targets if heading not in anchors(target)] == []


def test_no_page_uses_a_word_that_was_dropped() -> None:
    assert prose.dropped() == []


def test_the_readme_is_short_and_leads_to_the_same() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.encode()) <= 7_000
    linked = set(re.findall(r"\]\(docs/([\w/-]+)\.md", readme))
    assert {"index", "migration", "threat-model", "coverage", "anchor", "benchmarks/index"} <= linked
