"""The pages of `encrypted-serde view`: who is let in, what the browser is told, and that nothing of a row becomes HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from starlette.testclient import TestClient

from encrypted_serde import Key
from encrypted_serde.audit import AuditEvent
from encrypted_serde.view import open_view
from encrypted_serde.view.web.desk import Desk, Summary
from encrypted_serde.view.web.guard import Guard
from encrypted_serde.view.web.pages import Pages
from tests.view.agent import open_saver

FACTS: dict[str, Any] = {
    "label": "app.db",
    "server": "SQLite",
    "actor": "ann",
    "reason": "ticket 1",
    "is_audited": True,
    "keys": [],
}
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg onload=alert(3)> "
    "\u202eevil\u202c \x1b[31m {{ 7*7 }} {% raw %}"
)


class Tags(HTMLParser):
    """What a browser would take for elements and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.generate()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, key: Key) -> str:
    place = str(tmp_path_factory.mktemp("pages") / "app.db")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [HumanMessage("x" * 5000)]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    with open_saver(place, key) as saver:
        graph = builder.compile(checkpointer=saver)
        for thread in ("one", HOSTILE):
            graph.invoke(
                {"messages": [HumanMessage(HOSTILE, name=HOSTILE)]}, {"configurable": {"thread_id": thread, "who": HOSTILE}}
            )
    return place


@contextmanager
def browser(database: str, key: Key, **options: Any) -> Iterator[tuple[TestClient, Guard]]:
    desk = Desk(lambda: open_view(database, key, **options))
    guard = Guard(Pages(desk, Summary(is_done=True), FACTS).application(), 8000, frozenset({"127.0.0.1"}))
    with TestClient(guard, base_url="http://127.0.0.1:8000") as client:
        yield client, guard
    desk.close()


@pytest.fixture
def client(database: str, key: Key) -> Iterator[TestClient]:
    """A browser that was let in."""
    with browser(database, key) as (client, guard):
        client.get(f"/?token={guard.token}")
        yield client


PAGES = [
    "/",
    "/thread?id=one",
    "/checkpoint?thread=one",
    "/value?thread=one&channel=messages",
    "/summary",
    "/items",
    "/static/view.css",
]


# --- who is let in --------------------------------------------------------------------------------------------------------


# rule T-30
@pytest.mark.parametrize("page", PAGES)
def test_without_the_token_nothing_is_shown(database: str, key: Key, page: str) -> None:
    with browser(database, key) as (client, _):
        for headers in ({}, {"Cookie": "encrypted-serde-8000=guessed"}, {"Cookie": "x" * 5000}, {"Cookie": '="'}):
            answer = client.get(page, headers=headers)
            assert answer.status_code == 403
            assert "4711" not in answer.text


# rule T-30
def test_the_token_opens_once(database: str, key: Key) -> None:
    with browser(database, key) as (client, guard):
        assert client.get("/?token=wrong").status_code == 403
        first = client.get(f"/?token={guard.token}")
        assert first.status_code == 200
        cookie = first.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/").status_code == 200
        client.cookies.clear()
        assert client.get(f"/?token={guard.token}").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "localhost.evil:8000"])
def test_a_name_that_was_rebound_to_this_machine_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 421
    assert "one" not in re.findall(r"<a[^>]*>", answer.text)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000", "10.0.0.7:8000"])
def test_its_own_names_and_addresses_are_known(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code != 421


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_pages_only_show(client: TestClient, method: str) -> None:
    assert client.request(method, "/").status_code == 405


@pytest.mark.parametrize("page", [*PAGES, "/nowhere", "/thread?id=nobody", "/../../etc/passwd", "/static/../guard.py"])
def test_every_answer_tells_the_browser_to_keep_it_to_itself(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


# --- what is shown ----------------------------------------------------------------------------------------------------------


# rule T-29
@pytest.mark.parametrize(
    "page",
    [
        "/",
        f"/?{urlencode({'q': HOSTILE, 'tenant': HOSTILE, 'since': HOSTILE, 'after': HOSTILE})}",
        f"/thread?{urlencode({'id': HOSTILE})}",
        f"/checkpoint?{urlencode({'thread': HOSTILE})}",
        f"/value?{urlencode({'thread': HOSTILE, 'channel': 'messages'})}",
        f"/items?{urlencode({'namespace': HOSTILE})}",
        f"/thread?{urlencode({'id': 'nobody' + HOSTILE})}",
    ],
)
def test_nothing_of_a_row_or_an_address_becomes_html(client: TestClient, page: str) -> None:
    text = client.get(page).text
    found = Tags(text)
    assert "img" not in found.names
    assert found.names.count("script") == 1
    assert [name for name in found.attributes if name.startswith("on")] == []
    for steering in ("\u202e", "\u202c", "\x1b"):
        assert steering not in text
    assert "49" not in re.findall(r"\b49\b", text)


# rule T-29
def test_a_page_loads_nothing_from_anywhere_else(client: TestClient) -> None:
    for page in PAGES[:6]:
        text = client.get(page).text
        assert [link for link in re.findall(r'(?:src|href|action)="([^"]*)"', text) if not link.startswith(("/", "#"))] == []
        assert " style=" not in text


def test_a_large_text_is_cut_with_its_size_and_whole_on_demand(client: TestClient) -> None:
    text = client.get("/checkpoint?thread=one").text
    assert "x" * 5000 not in text
    assert "show all 5.0 kB" in text
    assert "x" * 5000 in client.get("/value?thread=one&channel=messages").text


def test_pages_of_what_is_not_there_say_so(client: TestClient) -> None:
    for page in (
        "/thread?id=nobody",
        "/checkpoint?thread=one&id=none",
        "/item?namespace=a&key=b",
        "/value?thread=one&channel=none",
        "/x",
    ):
        answer = client.get(page)
        assert answer.status_code == 404
        assert "Not shown" in answer.text


def test_a_wrong_key_shows_no_value(database: str) -> None:
    with browser(database, Key.generate()) as (client, guard):
        client.get(f"/?token={guard.token}")
        for page in PAGES[1:4]:
            text = client.get(page).text
            assert "alert" not in text
            assert "xxxx" not in text
        assert "UnknownKey" in client.get("/checkpoint?thread=one").text


def test_every_page_is_an_audit_event(database: str, key: Key) -> None:
    events: list[AuditEvent] = []
    with browser(database, key, audit=events.append, reason="ticket 1") as (client, guard):
        client.get(f"/?token={guard.token}")
        client.get("/checkpoint?thread=one")
    assert {event.reason for event in events} == {"ticket 1"}
    assert any((event.place or {}).get("checkpoint") for event in events)


# rule T-31
def test_an_audit_that_fails_shows_nothing(database: str, key: Key) -> None:
    def full(event: AuditEvent) -> None:
        raise OSError("disk full")

    with browser(database, key, audit=full) as (client, guard):
        client.get(f"/?token={guard.token}")
        for page in ("/", "/checkpoint?thread=one", "/value?thread=one&channel=messages"):
            answer = client.get(page)
            assert answer.status_code == 500
            assert "xxxx" not in answer.text


def test_the_database_is_opened_again_after_it_failed(tmp_path: Path, database: str, key: Key) -> None:
    place = tmp_path / "moved.db"
    with browser(str(place), key) as (client, guard):
        client.get(f"/?token={guard.token}")
        assert client.get("/").status_code == 500
        place.write_bytes(Path(database).read_bytes())
        assert client.get("/").status_code == 200
