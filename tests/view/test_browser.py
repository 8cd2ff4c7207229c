"""The pages in a real browser: every view, a hostile database, dark and light, a phone's width, keys.

Needs Chromium, and the package playwright (extra ``test-browser``). With ``ENCRYPTED_SERDE_PICTURES=docs/images`` set the
pictures of docs/looking.md are made anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from encrypted_serde import Key
from tests.maintenance import sql
from tests.view.agent import config_of, open_saver, write_support

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PICTURES = os.environ.get("ENCRYPTED_SERDE_PICTURES")
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
HOSTILE = (
    "<script>window.hacked=1</script><img src=//evil.example/x onerror=window.hacked=2>\"'><svg onload=window.hacked=3> "
    "\u202eevil\u2066 \x1b[31m \x07 javascript:window.hacked=4 {{ 7*7 }}"
)
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
]


class Served(NamedTuple):
    """A database that `encrypted-serde view` serves."""

    address: str
    base: str
    folder: Path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser. Where there is none the tests that need it are skipped, and say so."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra test-browser")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


@contextmanager
def serving(folder: Path, key: Key, *options: str) -> Iterator[Served]:
    """Runs the command, as a person does."""
    command = [sys.executable, "-m", "encrypted_serde", "view", "support.db", "--no-browser", *options]
    environment = {**os.environ, "ENCRYPTED_SERDE_KEY": key.to_text(), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            yield Served(address, address.partition("/?")[0], folder)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def support(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The support of a lamp shop."""
    folder, key = tmp_path_factory.mktemp("support"), Key.generate()
    write_support(str(folder / "support.db"), key)
    with serving(folder, key, "--actor", "dana", "--reason", "ticket 4711", "--audit", "looks.jsonl") as served:
        yield served


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """What somebody who may talk to the application, or write rows, would like a browser to do. And a long thread."""
    folder, key = tmp_path_factory.mktemp("hostile"), Key.generate()
    place = str(folder / "support.db")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(HOSTILE * 2, name=HOSTILE), AIMessage("x" * 400_000)]})
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    with open_saver(place, key) as saver:
        graph = builder.compile(checkpointer=saver)
        for thread in ("changed", HOSTILE):
            config = {"configurable": {"thread_id": thread, HOSTILE: HOSTILE}}
            graph.invoke({"messages": [HumanMessage(HOSTILE)]}, config)
        for _ in range(40):
            graph.update_state(config_of("long"), {"messages": [HumanMessage("hello", id="1")]}, as_node="answer")
    sql.run(place, "UPDATE checkpoints SET parent_checkpoint_id = ? WHERE thread_id = 'changed'", HOSTILE)
    with serving(folder, key) as served:
        yield served


class Tab:
    """A tab that was let in, and notes what it should never do."""

    def __init__(self, chromium: Any, served: Served, session: list[Any], **options: Any) -> None:
        self.served, self.context = served, chromium.new_context(**options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        if session:
            self.context.add_cookies(session)
        else:
            self.page.goto(served.address)
            self.page.wait_for_url(f"{served.base}/")
            session += self.context.cookies()

    def go(self, path: str) -> None:
        self.page.goto(self.served.base + path)
        if path == "/":
            self.page.wait_for_selector("#summary:not([data-again])")

    def check(self) -> None:
        self.page.wait_for_load_state("load")  # with its style sheet: widths depend on it
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(f"{self.served.base}/")] == []
        assert self.page.evaluate("window.hacked") is None
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture(scope="module")
def session() -> list[Any]:
    return []


@pytest.fixture(scope="module")
def hostile_session() -> list[Any]:
    return []


VIEWS = {
    "threads": "/",
    "history": "/thread?id=support-1007",
    "checkpoint": "/checkpoint?thread=support-1008",
    "store": "/items",
    "items": "/items?namespace=users.ann",
    "item": "/item?namespace=users.ann&key=profile",
    "value": "/value?thread=support-1008&channel=messages",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_opens_without_an_error(chromium: Any, support: Served, session: list[Any], size: str, scheme: str) -> None:
    tab = Tab(chromium, support, session, viewport=SIZES[size], color_scheme=scheme)
    for name, path in VIEWS.items():
        tab.go(path)
        tab.check()
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(251, 250, 248)") == (scheme == "light")
        if PICTURES and (name, size, scheme) in DOCUMENTED:
            _picture(tab.page, ROOT / PICTURES / f"view-{name}{'-phone' if size == 'phone' else ''}.png", size)
    tab.context.close()


DOCUMENTED = {
    ("threads", "wide", "light"),
    ("history", "wide", "light"),
    ("checkpoint", "wide", "light"),
    ("checkpoint", "phone", "dark"),
}


def _picture(page: Any, path: Path, size: str) -> None:
    from PIL import Image

    height = {"view-threads.png": 560, "view-history.png": 1040, "view-checkpoint.png": 1000}.get(path.name, 844)
    page.set_viewport_size({**SIZES[size], "height": height})
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(96).save(path, optimize=True)
    page.set_viewport_size(SIZES[size])


def test_the_pictures_of_the_documents_are_there() -> None:
    for name, size, _ in DOCUMENTED:
        picture = ROOT / "docs" / "images" / f"view-{name}{'-phone' if size == 'phone' else ''}.png"
        assert 0 < picture.stat().st_size < 120_000


def test_a_hostile_database_has_no_effect(chromium: Any, hostile: Served, hostile_session: list[Any]) -> None:
    tab = Tab(chromium, hostile, hostile_session, viewport=SIZES["phone"])
    tab.go("/")
    tab.check()
    seen = {"/"}
    waiting = ["/"]
    while waiting and len(seen) < 40:  # every page that another leads to
        tab.go(waiting.pop())
        tab.check()
        assert "\u202e" not in tab.page.inner_text("body")
        for link in tab.page.eval_on_selector_all("main a[href]", "all => all.map(a => a.getAttribute('href'))"):
            if link not in seen and "id=long" not in link and "thread=long" not in link:
                seen.add(link)
                waiting.append(link)
    assert len(seen) > 10
    tab.go("/thread?id=changed")
    assert "WrongLocation" in tab.page.inner_text("main")
    assert "hacked" not in tab.page.inner_text("main")
    tab.context.close()


def test_a_large_value_is_cut_and_whole_on_demand(chromium: Any, hostile: Served, hostile_session: list[Any]) -> None:
    tab = Tab(chromium, hostile, hostile_session, viewport=SIZES["wide"])
    tab.go("/")
    tab.page.click("a.entry >> nth=1")
    assert len(tab.page.content()) < 200_000
    tab.page.click("text=show all 400.0 kB >> nth=0")
    assert len(tab.page.inner_text("pre")) > 400_000
    tab.check()
    tab.context.close()


def test_a_long_history_goes_on_as_it_is_scrolled(chromium: Any, hostile: Served, hostile_session: list[Any]) -> None:
    tab = Tab(chromium, hostile, hostile_session, viewport={"width": 1280, "height": 500})
    sql_ids = tab.served.folder / "support.db"
    [(total,)] = sql.run(str(sql_ids), "SELECT count(*) FROM checkpoints WHERE thread_id = 'long'")
    tab.go("/thread?id=long")
    while tab.page.locator("#list a.entry").count() < total:
        tab.page.mouse.wheel(0, 2000)
        tab.page.wait_for_timeout(20)
    assert tab.page.locator("#list li.pager").count() == 0
    tab.check()
    tab.context.close()


def test_keys_go_through_lists_and_back(chromium: Any, support: Served, session: list[Any]) -> None:
    tab = Tab(chromium, support, session, viewport=SIZES["wide"])
    tab.go("/")
    for key in ("j", "j", "Enter"):
        tab.page.keyboard.press(key)
    tab.page.wait_for_url("**/checkpoint?thread=support-1007")
    tab.page.keyboard.press("u")
    tab.page.wait_for_url("**/thread?id=support-1007")
    tab.page.keyboard.press("?")
    assert tab.page.is_visible("dialog")
    tab.page.keyboard.press("Escape")
    assert not tab.page.is_visible("dialog")
    tab.go("/")
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("chat-2042")
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/?q=chat-2042*")
    assert tab.page.locator("a.entry").count() == 1
    tab.check()
    tab.context.close()


def test_a_browser_that_was_not_let_in_sees_nothing(chromium: Any, support: Served, session: list[Any]) -> None:
    Tab(chromium, support, session).context.close()  # the address was used
    context = chromium.new_context()
    page = context.new_page()
    for path in ("/", "/checkpoint?thread=support-1008", support.address.removeprefix(support.base)):
        answer = page.goto(support.base + path)
        assert answer.status == 403
        assert "support-1008" not in page.content()
    context.close()


def test_every_look_is_recorded(chromium: Any, support: Served, session: list[Any]) -> None:
    tab = Tab(chromium, support, session)
    tab.go("/checkpoint?thread=support-1008")
    tab.context.close()
    looks = (support.folder / "looks.jsonl").read_text()
    assert '"actor": "dana"' in looks
    assert '"thread": "support-1008"' in looks
    assert "lamp" not in looks
