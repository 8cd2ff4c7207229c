"""``encrypted-serde show`` and ``encrypted-serde find``: what is sealed, on a terminal or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .exits import EXIT_FOUND, failures, writable, write_new
from .looking import Looking, require_right_keys
from .options import Database, Text, flag, option

if TYPE_CHECKING:
    from ..view import Thread, View

_Json = Annotated[bool, flag("--json", "Print everything as one JSON object, nothing shortened.")]


def show(
    database: Database,
    *,
    thread: Annotated[Text, option("ID", "Show this thread.")] = None,
    checkpoint: Annotated[Text, option("ID", "Show this checkpoint of it. Default: the newest.")] = None,
    history: Annotated[bool, flag("--history", "A line for each checkpoint, with forks drawn.")] = False,
    writes: Annotated[bool, flag("--writes", "Show all pending writes, not interrupts and errors alone.")] = False,
    diff: Annotated[tuple[str, str] | None, typer.Option(metavar="A B", help="What differs between two checkpoints.")] = None,
    store: Annotated[Text, option("NAMESPACE", "Items of a store: users.42. Empty: its namespaces.")] = None,
    key: Annotated[Text, option("KEY", "One item of it.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="So many threads, or items, at most.")] = 50,
    looking: Looking,
    as_json: _Json = False,
) -> None:
    """Shows threads, states and items on the terminal.

    Without an option it lists the threads. It changes nothing. No class of the application is needed and nothing of a row runs.
    Everything is verified before it is shown: what is refused stays hidden, and the reason is shown in its place. Keys come
    from the environment, or from the application with --keys.

    For example:

        encrypted-serde show app.db

        encrypted-serde show app.db --thread 42 --reason "ticket 4711" --audit looks.jsonl

        encrypted-serde show postgresql://db/app --thread 42 --history

        encrypted-serde show app.db --store users.42 --mask email,iban

    Exit codes: 0 shown, 1 the database, a key or an option failed, 2 wrong usage, 3 something of it is refused, or there is
    nothing at all.
    """
    if thread is None and (checkpoint or history or writes or diff):
        raise typer.BadParameter("name a thread with --thread", param_hint="--checkpoint, --history, --writes, --diff")
    if key is not None and not store:
        raise typer.BadParameter("name its namespace with --store", param_hint="--key")
    with failures(), looking.open(database) as view:
        shown = _Shown(view, as_json, limit)
        if store is not None:
            shown.store(store, key)
        elif thread is None:
            shown.threads()
        elif diff is not None:
            shown.diff(view.thread(thread), *diff)
        elif history:
            shown.history(view.thread(thread))
        else:
            shown.checkpoint(view.thread(thread), checkpoint, writes)
    if shown.refused:
        raise typer.Exit(EXIT_FOUND)


def find(
    database: Database,
    *,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for. - reads it from standard input.")],
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", callback=writable, help="Write the whole values to a new file, as JSON.")
    ] = None,
    looking: Looking,
    as_json: _Json = False,
) -> None:
    """Searches decrypted values of threads and items.

    Use it to answer a request of access (GDPR, article 15). It lists where the text occurs. The text itself is written into no
    audit. Reads and opens every row.

    For example:

        encrypted-serde find app.db ann@example.org --export ann.json --reason "request of access 17"

    Exit codes: 0 found, 1 the database, a key or an option failed, 2 wrong usage, 3 it is nowhere, or rows were not searched
    because they do not open.
    """
    with failures(), looking.open(database) as view:
        found = view.find(typer.get_text_stream("stdin").read().strip() if text == "-" else text)
        from ..view import to_document

        document = json.dumps(to_document(found), indent=2)
        if export is not None:
            write_new(export, document)
        if as_json:
            print(document)
        else:
            from .screen import show_findings, show_masked
            from .shown import console

            show_findings(found, console())
            show_masked(view, console())
    if found.refused or not found.occurrences:
        raise typer.Exit(EXIT_FOUND)


class _Shown:
    """Prints what a look returned, and knows whether something was refused."""

    def __init__(self, view: View, as_json: bool, limit: int) -> None:
        self._view, self._as_json, self._limit = view, as_json, limit
        self.refused = False

    def threads(self) -> None:
        page = self._view.threads(limit=self._limit)
        require_right_keys([line.refused for line in page.lines])
        self._hint(page.lines, "no thread is here; --store '' shows the namespaces of a store")
        self.refused = not page.lines or bool(page.gone) or any(line.refused or line.missing for line in page.lines)
        self._print(page, "show_threads")

    def history(self, thread: Thread) -> None:
        page = thread.page(0, len(thread.spots))
        require_right_keys([line.refused for line in page.lines])
        self.refused = bool(page.missing) or any(line.refused for line in page.lines)
        self._print(page, "show_history")

    def checkpoint(self, thread: Thread, checkpoint_id: str | None, all_writes: bool) -> None:
        found = thread.checkpoint(checkpoint_id)
        require_right_keys([found.line.refused])
        refused = [*(each.refused for each in found.channels), *(each.refused for each in found.writes)]
        self.refused = bool(thread.missing or found.line.refused) or any(refused)
        if thread.missing and not self._as_json:
            self._print(thread.missing, "show_missing")
        self._print(found, "show_checkpoint", all_writes=all_writes)

    def diff(self, thread: Thread, before: str, after: str) -> None:
        for each in (before, after):
            require_right_keys([thread.checkpoint(each).line.refused])
        self._print(thread.changes(before, after), "show_changes")

    def store(self, namespace: str, key: str | None) -> None:
        if not namespace:
            self._print(self._view.namespaces(limit=self._limit), "show_namespaces")
            return
        items = self._view.items(namespace, limit=self._limit) if key is None else [self._view.item(namespace, key)]
        require_right_keys([item.refused for item in items])
        self._hint(items, "no such item; --store '' shows the namespaces")
        self.refused = not items or any(item.refused for item in items)
        self._print(items, "show_items")

    def _hint(self, found: Sequence[object], text: str) -> None:
        if not found and not self._as_json:
            print(f"encrypted-serde: {text}", file=sys.stderr)

    def _print(self, found: Any, how: str, **options: Any) -> None:
        from ..view import to_document

        if self._as_json:
            print(json.dumps(to_document(found), indent=2))
            return
        from . import screen
        from .shown import console

        to = console()
        getattr(screen, how)(found, to, **options)
        screen.show_masked(self._view, to)
