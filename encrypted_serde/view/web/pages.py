"""The pages: threads, a thread, a checkpoint, a value, items. All of them only show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ...errors import EncryptedSerdeError
from ..changes import Change
from ..execution import ERROR, INTERRUPT, asked_in, is_internal, task_name
from ..lanes import lay_out
from ..masking import NOTICE
from ..messages import as_message
from ..model import Checkpoint, HistoryPage
from ..printable import one_line, printable, size_text
from ..text import MAX_PARTS, MAX_TEXT, cut, pairs_text, short, text_size, time_text, trimmed
from ..thread import PAGE, NotFound, Thread
from ..values import Value, as_json
from ..view import Search, View
from .desk import Desk, Summary
from .picture import ROW, draw, width_of

_HERE = Path(__file__).parent
_NOT_THERE = 404


class Pages:
    """Answers requests with pages.

    Args:
        desk: Has the database.
        summary: What a scan says.
        facts: What every page says: the database, who looks, why.
    """

    def __init__(self, desk: Desk, summary: Summary, facts: Mapping[str, Any]) -> None:
        self._desk, self._summary = desk, summary
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            **facts,
            "notice": NOTICE,
            "limit_text": MAX_TEXT,
            "limit_parts": MAX_PARTS,
            "row_height": ROW,
            "address": address,
            "as_message": as_message,
            "asked_in": asked_in,
            "short": short,
            "trimmed": trimmed,
        }
        self._templates.filters |= {
            "shown": printable,
            "line": one_line,
            "cut": cut,
            "task": task_name,
            "text_size": text_size,
            "size": size_text,
            "time": time_text,
            "pairs": pairs_text,
        }

    def application(self) -> Starlette:
        """Returns the pages as an ASGI application, without anybody who guards them."""
        routes = [
            Route("/", self.threads),
            Route("/summary", self.summary),
            Route("/thread", self.thread),
            Route("/checkpoint", self.checkpoint),
            Route("/value", self.value),
            Route("/items", self.items),
            Route("/item", self.item),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ]
        handlers: Any = {EncryptedSerdeError: self._failed, HTTPException: self._not_there, OSError: self._failed}
        return Starlette(routes=routes, exception_handlers=handlers)

    # --- lists

    async def threads(self, request: Request) -> Response:
        """The threads, and what a scan says of the database."""
        asked = request.query_params
        search = Search(asked.get("q", ""), asked.get("tenant", ""), _day(asked.get("since")), _day(asked.get("until"), 1))
        page, view = await self._desk.ask(lambda view: (view.threads(search, after=asked.get("after", "")), view))
        if not view.has_threads:
            return await self.items(request)
        fields = {name: asked.get(name, "") for name in ("q", "tenant", "since", "until")}
        return self._page("threads.html", view, page=page, asked=fields, summary=self._summary)

    async def summary(self, request: Request) -> Response:
        """What a scan says, to be put into the page of threads."""
        return HTMLResponse(self._templates.get_template("summary.html").render(summary=self._summary))

    async def thread(self, request: Request) -> Response:
        """The history of a thread, drawn."""
        asked = request.query_params
        start = int(asked["start"]) if asked.get("start", "").isdigit() else 0
        page, thread, view = await self._desk.ask(lambda view: _history(view, asked.get("id", ""), start))
        name = "rows.html" if "rows" in asked else "thread.html"
        rows = lay_out(page.spots)
        shown = rows[page.start : page.start + len(page.lines)]
        strips = [draw(row, line) for row, line in zip(shown, page.lines, strict=True)]
        older = start + PAGE if start + PAGE < page.total else 0
        namespaces = sorted({spot.namespace for spot in page.spots} - {""})
        return self._page(
            name,
            view,
            thread=thread,
            page=page,
            strips=strips,
            width=width_of(rows),
            older=older,
            namespaces=namespaces,
            parents={(spot.namespace, spot.parent) for spot in page.spots},
        )

    # --- one of them

    async def checkpoint(self, request: Request) -> Response:
        """The state of a checkpoint, and what changed since its parent."""
        asked = request.query_params
        thread, found, changes, view = await self._desk.ask(
            lambda view: _checkpoint(view, asked.get("thread", ""), asked.get("id") or None, asked.get("ns"))
        )
        spot = found.line.spot
        state = [channel for channel in found.channels if not is_internal(channel.name)]
        return self._page(
            "checkpoint.html",
            view,
            thread=thread,
            found=found,
            spot=spot,
            state=state,
            internal=[channel for channel in found.channels if is_internal(channel.name)],
            conversations=[channel for channel in state if channel.messages is not None],
            waiting=[write for write in found.writes if write.channel == INTERRUPT],
            failed=[write for write in found.writes if write.channel == ERROR],
            changes=changes,
            children=[each for each in thread.spots if (each.namespace, each.parent) == (spot.namespace, spot.id)],
            parent=next((each for each in thread.spots if (each.namespace, each.id) == (spot.namespace, spot.parent)), None),
        )

    async def value(self, request: Request) -> Response:
        """A channel, a write or an item, whole, as JSON."""
        asked = request.query_params
        value, view = await self._desk.ask(lambda view: (_whole(view, asked), view))
        text = printable(json.dumps(as_json(value), indent=2, ensure_ascii=False))
        title = " / ".join(asked[name] for name in ("thread", "channel", "namespace", "key") if asked.get(name))
        return self._page("value.html", view, title=title, text=text)

    async def items(self, request: Request) -> Response:
        """The namespaces of a store, or the items of one."""
        asked = request.query_params
        namespace, after = asked.get("namespace", ""), asked.get("after", "")
        if not namespace:
            found, view = await self._desk.ask(lambda view: (view.namespaces(after=after), view))
            return self._page("namespaces.html", view, found=found, more=found[-1].place if len(found) == PAGE else "")
        items, view = await self._desk.ask(lambda view: (view.items(namespace, after=after), view))
        more = items[-1].place[1] if len(items) == PAGE else ""
        return self._page("items.html", view, namespace=namespace, items=items, more=more)

    async def item(self, request: Request) -> Response:
        """An item of a store."""
        asked = request.query_params
        item, view = await self._desk.ask(lambda view: (view.item(asked.get("namespace", ""), asked.get("key", "")), view))
        return self._page("item.html", view, item=item)

    # --- how

    def _page(self, template: str, view: View, **found: Any) -> Response:
        text = self._templates.get_template(template).render(
            hidden=view.mask.hidden, is_masked=bool(view.mask), has_threads=view.has_threads, has_items=view.has_items, **found
        )
        return HTMLResponse(text)

    async def _failed(self, request: Request, error: Exception) -> Response:
        status = _NOT_THERE if isinstance(error, NotFound) else 500
        text = str(error) if isinstance(error, EncryptedSerdeError) else "something on this machine failed"
        return self._sorry(f"{type(error).__name__}: {text}", status)

    async def _not_there(self, request: Request, error: Exception) -> Response:
        return self._sorry("There is no such page.", _NOT_THERE)

    def _sorry(self, text: str, status: int) -> Response:
        page = self._templates.get_template("sorry.html").render(
            text=text, hidden=0, is_masked=False, has_threads=True, has_items=True
        )
        return HTMLResponse(page, status)


def address(path: str, **parts: str | int) -> str:
    """Returns the address of a page; its parts are escaped, and empty ones left out."""
    query = urlencode({name: part for name, part in parts.items() if part != ""}, errors="replace")
    return f"{path}?{query}" if query else path


def _history(view: View, thread_id: str, start: int) -> tuple[HistoryPage, Thread, View]:
    thread = view.thread(thread_id)
    return thread.page(start), thread, view


def _checkpoint(
    view: View, thread_id: str, checkpoint_id: str | None, namespace: str | None
) -> tuple[Thread, Checkpoint, tuple[Change, ...], View]:
    thread = view.thread(thread_id)
    found = thread.checkpoint(checkpoint_id, namespace)
    return thread, found, thread.changes_since_parent(found), view


def _whole(view: View, asked: Mapping[str, str]) -> Value:
    value = view.item(asked.get("namespace", ""), asked["key"]).value if "key" in asked else _of_checkpoint(view, asked)
    if value is None:
        raise NotFound("there is no such value, or it is refused")
    return value


def _of_checkpoint(view: View, asked: Mapping[str, str]) -> Value | None:
    found = view.thread(asked.get("thread", "")).checkpoint(asked.get("id") or None, asked.get("ns"))
    if number := asked.get("write", ""):
        return found.writes[int(number)].value if number.isdigit() and int(number) < len(found.writes) else None
    if (name := asked.get("channel")) is None:
        return found.metadata if found.line.refused is None else None
    channel = found.channel(name)
    return None if channel is None else channel.value


def _day(text: str | None, more: int = 0) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=timezone.utc) + timedelta(days=more) if text else None
    except (ValueError, OverflowError):
        return None
