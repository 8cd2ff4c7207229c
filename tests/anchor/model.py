"""What an application may see, whatever applications and an attacker did before: the promise of docs/anchor.md, in plain sets.

Pure: no database, no anchor, no keys. The model is told what applications did, and how far they came. It is not told what an
attacker did, since that changes nothing of what may be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Slot = tuple[str, str]
"""A task and a channel: the place of one write of a checkpoint."""

Values = dict[Slot, str]


@dataclass
class Place:
    """One slot.

    Attributes:
        allowed: Values that may be in it.
        entered: Those of them that the anchor knows.
        replaced: Values that must not be seen again.
        must: Whether one of them must be there.
        actual: What is in it, as far as applications go.
    """

    actual: str | None = None
    allowed: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    must: bool = False

    def replace(self, values: set[str]) -> None:
        self.replaced |= values
        self.allowed -= values
        self.entered -= values


@dataclass
class Row:
    """A checkpoint.

    Attributes:
        standing: ``required``, ``optional``, ``doubtful`` (optional, and perhaps deleted on purpose) or ``gone``.
        named: Whether a deletion that did not end may take it.
        there: Whether the database has it, as far as applications go.
        run: The run that wrote it.
        places: Its slots.
    """

    standing: str
    run: str
    named: bool = False
    there: bool = True
    places: dict[Slot, Place] = field(default_factory=dict)


@dataclass
class Thread:
    """A thread: rows by namespace and id, and whether a deletion of all of it did not end."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    is_open: bool = False


class Model:
    """The promise.

    Attributes:
        threads: By id.
    """

    def __init__(self) -> None:
        self.threads: dict[str, Thread] = {}
        self._known: dict[tuple[Any, str, str, str], dict[Slot, set[str]]] = {}

    def thread(self, thread_id: str) -> Thread:
        return self.threads.setdefault(thread_id, Thread())

    def there(self, thread_id: str, namespace: str | None = None) -> list[tuple[str, str]]:
        """Returns what the database has of a thread, as far as applications go, oldest first."""
        rows = self.thread(thread_id).rows
        return sorted((key for key, row in rows.items() if row.there and namespace in (None, key[0])), key=lambda key: key[1])

    # --- what applications do; a process that died before it was done left something unentered

    def stored(self, process: Any, thread_id: str, key: tuple[str, str], run: str, *, is_entered: bool) -> None:
        thread = self.thread(thread_id)
        is_required = is_entered and not thread.is_open
        thread.rows[key] = Row("required" if is_required else "optional", run)
        self._known[(process, thread_id, *key)] = {}

    def wrote(self, process: Any, thread_id: str, key: tuple[str, str], values: Values, *, is_entered: bool) -> None:
        row = self.thread(thread_id).rows.get(key)
        if row is None or row.standing == "gone":
            return
        for slot, value in values.items():
            place = row.places.setdefault(slot, Place())
            known = self._knows(process, thread_id, key, slot)
            is_special = slot[1].startswith("__")
            place.actual = value if is_special else place.actual or value
            if not is_entered:
                place.allowed.add(value)
                continue
            if is_special:
                place.replace(known)
            elif known:
                continue  # the first stays, and this process knew of it
            place.allowed.add(value)
            place.entered.add(value)
            place.must = True
            self._known[(process, thread_id, *key)][slot] = {value}

    def _knows(self, process: Any, thread_id: str, key: tuple[str, str], slot: Slot) -> set[str]:
        row = self.thread(thread_id).rows[key]
        entered = {each: set(place.entered) for each, place in row.places.items()}
        return self._known.setdefault((process, thread_id, *key), entered).get(slot, set())

    def forgets(self, process: Any) -> None:
        """A process ended."""
        for key in [key for key in self._known if key[0] == process]:
            del self._known[key]

    def forgets_thread(self, process: Any, thread_id: str) -> None:
        for key in [key for key in self._known if key[:2] == (process, thread_id)]:
            del self._known[key]

    def deletes_thread(self, thread_id: str, *, is_announced: bool, is_done: bool, is_ended: bool) -> None:
        thread = self.thread(thread_id)
        if is_announced:
            thread.is_open = not is_ended
            for row in thread.rows.values():
                row.standing, row.named = "gone", False
        if is_done:
            for row in thread.rows.values():
                row.there = False

    def deletes(
        self, thread_id: str, keys: set[tuple[str, str]], *, is_announced: bool, is_done: bool, is_ended: bool, ends_all: bool
    ) -> None:
        """Deletes some checkpoints. What an earlier deletion named, which did not end, ends with it (`ends_all`)."""
        for key, row in self.thread(thread_id).rows.items():
            if key in keys:
                row.there = row.there and not is_done
            if row.standing == "gone":
                continue
            if key in keys:
                if is_announced:
                    row.named = not is_ended
                    row.standing = "gone" if is_ended and is_done else row.standing
            elif row.named and is_ended and ends_all:
                row.named, row.standing = False, row.standing if row.there else "gone"

    def accepts(self, thread_id: str, content: dict[tuple[str, str], Values]) -> None:
        """An operator restored a backup, and accepted what it lacks."""
        thread = self.thread(thread_id)
        was_open, thread.is_open = thread.is_open, False
        for key, row in thread.rows.items():
            is_there = row.there = key in content
            for slot, place in row.places.items():
                place.actual = content.get(key, {}).get(slot)
            if row.standing == "gone":
                continue
            if not is_there:
                row.standing = "gone" if row.standing == "required" or row.named or was_open else row.standing
            row.named = False
            for slot, place in row.places.items() if is_there else ():
                found = content[key].get(slot)
                if found is None and place.must:
                    place.replace(set(place.entered))
                    place.must = False
                elif found is not None and found not in place.allowed:
                    place.replace(set(place.entered))
                    place.replaced.discard(found)
                    place.allowed.add(found)
                    place.entered.add(found)

    def weaken(self, thread_id: str, keys: set[tuple[str, str]]) -> None:
        """A deletion met a database that somebody had changed: what it was to take may be there or not."""
        for key, row in self.thread(thread_id).rows.items():
            if key in keys and row.standing != "gone":
                row.standing = "doubtful"

    def newest(self, thread_id: str) -> set[tuple[str, str]]:
        """Returns the newest rows of each namespace: of all that are there, and of those that count."""
        rows = self.thread(thread_id).rows
        there = self.there(thread_id)  # oldest first
        return {*{key[0]: key for key in there}.values()} | {
            *{key[0]: key for key in there if rows[key].standing != "gone"}.values()
        }

    def may_refuse_to_prune(self, thread_id: str) -> bool:
        """Says whether a backup brought back what was deleted on purpose, and newer than what counts of its namespace."""
        rows, counted = self.thread(thread_id).rows, set[str]()
        for key in self.there(thread_id):  # oldest first
            if key[0] in counted and rows[key].standing in ("gone", "doubtful"):
                return True
            counted |= {key[0]} if rows[key].standing != "gone" else set()
        return False

    def agrees(self) -> bool:
        """Says whether what applications left may be seen: not if an attacker showed what nobody had entered."""
        for thread_id, thread in self.threads.items():
            for row in thread.rows.values():
                if self._must(thread_id, row) and not row.there:
                    return False
                places = row.places.values() if row.there and row.standing != "gone" else ()
                if any(place.actual not in place.allowed if place.actual else place.must for place in places):
                    return False
        return True

    # --- what readers see

    def newest_problem(self, thread_id: str, namespace: str, found: tuple[str, Values] | None) -> str | None:
        """Says what is wrong with an answer to "the newest"; None if nothing."""
        rows = {key[1]: row for key, row in self.thread(thread_id).rows.items() if key[0] == namespace}
        required = max((each for each, row in rows.items() if self._must(thread_id, row)), default=None)
        if found is None:
            return None if required is None else f"nothing, and {required} is required"
        if required is not None and found[0] < required:
            return f"{found[0]} is older than {required}"
        return self.row_problem(thread_id, (namespace, found[0]), found[1])

    def row_problem(self, thread_id: str, key: tuple[str, str], values: Values) -> str | None:
        """Says what is wrong with a row that a reader got; None if nothing."""
        row = self.thread(thread_id).rows.get(key)
        if row is None or row.standing == "gone":
            return f"{key} is gone"
        for slot, value in values.items():
            if value not in row.places.get(slot, Place()).allowed:
                return f"{key}: {value} in {slot}, allowed is {row.places.get(slot, Place()).allowed}"
        for slot, place in row.places.items():
            if place.must and slot not in values and self._must(thread_id, row):
                return f"{key}: nothing in {slot}"
        return None

    def list_problem(
        self,
        thread_id: str,
        found: list[tuple[tuple[str, str], Values]],
        *,
        namespace: str | None = None,
        limit: int | None = None,
        run: str | None = None,
        before: str | None = None,
    ) -> str | None:
        """Says what is wrong with a list; None if nothing."""
        ids = [key[1] for key, _ in found]
        if ids != sorted(ids, reverse=True):
            return "not in order"
        for key, values in found:
            if problem := self.row_problem(thread_id, key, values):
                return problem
        is_cut = limit is not None and len(found) >= limit
        seen = {key for key, _ in found}
        for key, row in self.thread(thread_id).rows.items():
            is_asked_for = namespace in (None, key[0]) and run in (None, row.run) and (before is None or key[1] < before)
            if (
                is_asked_for
                and self._must(thread_id, row)
                and key not in seen
                and not (is_cut and key[1] < min(ids, default=""))
            ):
                return f"{key} is not listed"
        return None

    def saw(self, process: Any, thread_id: str, key: tuple[str, str], values: Values) -> None:
        """What was seen is required from then on, but for what a deletion may still take."""
        row = self.thread(thread_id).rows[key]
        if not row.named and not self.thread(thread_id).is_open:
            row.standing = "required"
        for slot, place in row.places.items():
            place.must = place.must and slot in values
        for slot, value in values.items():
            place = row.places.setdefault(slot, Place())
            place.replace(place.entered - {value})
            place.entered.add(value)
            place.must = True
        self._known[(process, thread_id, *key)] = {each: set(place.entered) for each, place in row.places.items()}

    def _must(self, thread_id: str, row: Row) -> bool:
        return row.standing == "required" and not row.named and not self.thread(thread_id).is_open
