"""What the documents show runs as it stands, and what they list is all there is."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient
from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMPLETE = ("README.md", "start.md", "serializer.md", "migration.md")
"""Pages all of whose Python is complete programs. Others show fragments beside a saver or store that they took as given."""

PUBLIC = (
    "encrypted_serde",
    "encrypted_serde.agent_server",
    "encrypted_serde.anchor",
    "encrypted_serde.errors",
    "encrypted_serde.maintenance",
)


def snippets(page: Path) -> list[tuple[str, str]]:
    """Every block of Python on a page, under the heading and number by which a test names it."""
    found, heading = [], page.stem
    for title, code in re.findall(r"^#+ ([^\n]*)$|^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        heading = title or heading
        if code:
            found.append((f"{page.stem}: {heading}, {len(found) + 1}", code))
    return found


SNIPPETS = [one for page in PAGES if page.name in COMPLETE for one in snippets(page)]


@pytest.fixture
def set_up(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and the variables that the pages tell a reader to set."""
    from encrypted_serde import Key

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENCRYPTED_SERDE_KEY", Key.generate().to_text())
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    if "DATABASE_URL" in request.node.callspec.params["code"]:
        parameters = conninfo_to_dict(request.getfixturevalue("postgres_database"))
        monkeypatch.setenv("DATABASE_URL", f"postgresql:///?{urlencode(parameters)}")


@pytest.mark.parametrize(("name", "code"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
@pytest.mark.usefixtures("set_up")
def test_a_program_on_a_page_runs_when_it_is_pasted_alone(name: str, code: str) -> None:
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


def test_the_pages_have_programs_for_sqlite_postgres_and_a_web_framework() -> None:
    readme = "".join(code for name, code in SNIPPETS if name.startswith("README"))
    assert [one for one in ("SqliteSaver", "PostgresSaver", "FastAPI", "encryption_context") if one not in readme] == []
    assert len([name for name, _ in SNIPPETS if name.startswith("migration")]) >= 8


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    if f"automodule:: {module}\n```" in reference:
        return
    names = importlib.import_module(module).__all__
    listed = re.findall(r"auto\w+:: encrypted_serde[\w.]*\.(\w+)", reference)
    errors = importlib.import_module("encrypted_serde.errors")
    assert [name for name in names if name not in listed and not hasattr(errors, name)] == []


def test_every_error_has_its_paragraph_in_troubleshooting() -> None:
    errors = vars(importlib.import_module("encrypted_serde.errors"))
    names = {name for name, one in errors.items() if isinstance(one, type) and issubclass(one, Exception)}
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    headings = set(re.findall(r"\w+", " ".join(re.findall(r"^## ([^\n]*)$", text, re.MULTILINE))))
    assert {name for name in names if not name.startswith("_")} - headings == {"EncryptedSerdeError"}


@pytest.fixture
def web_application(request: pytest.FixtureRequest, set_up: None) -> Iterator[TestClient]:
    """The FastAPI application of the README, as uvicorn would run it."""
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(request.node.callspec.params["code"], "app.py", "exec"), names)
    with TestClient(names["app"]) as client:
        yield client


@pytest.mark.parametrize("code", [code for _, code in SNIPPETS if "FastAPI" in code])
def test_the_web_application_of_the_readme_keeps_tenants_apart(web_application: TestClient, code: str) -> None:
    def talk(tenant: str) -> httpx.Response:
        return web_application.post("/threads/1", params={"text": "hello"}, headers={"X-Tenant": tenant})

    assert [talk("acme").json(), talk("acme").json()] == ["message 1", "message 3"]
    assert talk("globex").status_code == 403
    assert talk("").status_code == 422
    assert talk("acme").json() == "message 5"
