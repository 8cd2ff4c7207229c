"""The anchor client: what is looked up before rows are read, entered after they are stored, and announced before they go.

Two runs of one task may store writes at the same time. Which of them the database keeps cannot be told from the order of their
entries. So a writer says that a write lost its slot only where this process knew of the other one before it began to store,
because it had entered it or read it. The next reader decides what is left open: a slot holds what was seen in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ..core.binding import Place
from ..core.bounded import Bounded
from ..core.forks import start_anew_in_children
from ..core.keys import Key, KeyProvider, as_key_provider
from .compare import Judged, View
from .entries import ABOUT_ITSELF, Anchor, Entry, Kind, id_bytes, id_of_now, pack_slots
from .ledger import Ledger, Standing, TaskSlot
from .names import Names, Spot, open_names, reseal

_REMEMBERED = 4096

_Live = dict[TaskSlot, set[bytes]]


class NewWrites(NamedTuple):
    """Writes that one call is about to store.

    Attributes:
        checkpoint_id: The checkpoint they belong to.
        task_id: Their task.
        slots: Their positions; of special ones the negative number that LangGraph gives their channel.
        first_stays: Whether an ordinary write that is stored already is sure to stay.
        newest_stays: Whether a special one is sure to replace one that is stored already.
    """

    checkpoint_id: str
    task_id: str
    slots: Sequence[int]
    first_stays: bool = False
    newest_stays: bool = False


class BegunWrites(NamedTuple):
    """Writes that are being stored, and what was known before that began.

    Attributes:
        new: The writes.
        place: Where they belong.
        known: As in an `Entry`.
        earlier: The batches in their slots; a slot that was free has none.
    """

    new: NewWrites
    place: Place
    known: int
    earlier: Mapping[int, set[bytes]]


class AnchorClient:
    """Enters and looks up. Threads share one; after a fork both processes go on with what they knew.

    Args:
        anchor: Where the entries are.
        keys: What its secret is sealed with, if the anchor has no keys of its own.
        writes: Whether entries will be made. A client that only reads neither draws a secret nor seals it anew.
    """

    def __init__(self, anchor: Anchor, keys: Key | KeyProvider, *, writes: bool = True) -> None:
        own: Key | KeyProvider | None = getattr(anchor, "keys", None)
        self.anchor = anchor
        self.keys = as_key_provider(keys if own is None else own)
        self._writes = writes
        self._names: Names | None = None
        self._clock = 0
        self._live: Bounded[tuple[bytes, Spot], _Live] = Bounded(_REMEMBERED)
        self._highest: Bounded[tuple[bytes, bytes], bytes] = Bounded(_REMEMBERED)
        self._lock = threading.RLock()
        start_anew_in_children(self)

    def after_fork(self) -> None:
        """Keeps what was known, since it stays true."""
        self._lock = threading.RLock()

    @property
    def names(self) -> Names:
        """The anchor's names. The first use opens its secret.

        Raises:
            AnchorError: If there is no anchor, it has no secret, no copy of it is under a key in the keyring, or it cannot be
                written to and should be.
        """
        with self._lock:
            if self._names is None:
                if self._writes:
                    check: Callable[[], None] = getattr(self.anchor, "check_writable", lambda: None)
                    check()
                self._names = open_names(self.anchor, self.keys, draw=self._writes)
                if self._writes:
                    reseal(self.anchor, self.keys)
            return self._names

    # --- looking

    def newest(self, place: Place) -> View:
        """Looks up the newest checkpoint of a place: one indexed read, two after its newest was deleted."""
        thread, namespace = self._tokens(place)
        view = self._view(place.thread_id, self.anchor.newest(thread, namespace))
        self._highest[thread, namespace] = max((spot.checkpoint for spot in view.ledger.spots()), default=b"")
        if any(view.ledger.checkpoint(spot) is not Standing.REQUIRED for spot in view.ledger.spots()):
            return self.place(place)
        return view

    def place(self, place: Place) -> View:
        """Looks up all checkpoints of a place."""
        return self._view(place.thread_id, self.anchor.entries(*self._tokens(place)))

    def checkpoint(self, place: Place, checkpoint_id: str) -> View:
        """Looks up one checkpoint."""
        view = self._view(place.thread_id, self.anchor.entries(*self._tokens(place), id_bytes(checkpoint_id)))
        self.remember(view, view.spot(place.checkpoint_ns, checkpoint_id))
        return view

    def thread(self, thread_id: str) -> View:
        """Looks up a whole thread, in all its namespaces."""
        return self._view(thread_id, self.anchor.entries(self.names.thread(thread_id)))

    def threads(self) -> list[bytes]:
        """Returns the tokens of all threads."""
        return [thread for thread in self.anchor.threads() if thread != ABOUT_ITSELF]

    def remember(self, view: View, spot: Spot) -> None:
        """Keeps in mind which writes of a checkpoint were stored before now."""
        live = {
            place: found
            for place, batches in view.ledger.writes(spot).items()
            if (found := {batch for batch, standing in batches.items() if standing > Standing.REPLACED})
        }
        with self._lock:
            self._live[view.names.thread(view.thread_id), spot] = live

    def _tokens(self, place: Place) -> tuple[bytes, bytes]:
        names = self.names
        return names.thread(place.thread_id), names.namespace(place.thread_id, place.checkpoint_ns)

    def _view(self, thread_id: str, entries: list[Entry]) -> View:
        view = View(self.names, thread_id, Ledger(entries))
        self._learn(view.ledger.newest)
        return view

    def _learn(self, number: int) -> None:
        with self._lock:
            self._clock = max(self._clock, number)

    # --- entering what is stored

    def begin_checkpoint(self, place: Place, checkpoint_id: str) -> Entry:
        """Returns the entry of a checkpoint that is about to be stored."""
        thread, namespace = self._tokens(place)
        spot = Spot(namespace, id_bytes(checkpoint_id))
        with self._lock:
            self._writes_of((thread, spot))
            return Entry(thread, *spot, Kind.CHECKPOINT, known=self._clock)

    def begin_writes(self, place: Place, new: NewWrites) -> BegunWrites:
        """Takes note of what is in the slots of writes that are about to be stored."""
        thread, namespace = self._tokens(place)
        spot = Spot(namespace, id_bytes(new.checkpoint_id))
        # LangGraph may store the writes of a checkpoint before it stores the checkpoint. One that is above all that were
        # there when this process looked is being made by this process: there is nothing to look up.
        highest = self._highest.get((thread, namespace))
        if (thread, spot) not in self._live and (highest is None or spot.checkpoint <= highest):
            self.checkpoint(place, new.checkpoint_id)
        task = self.names.task(spot, new.task_id)
        with self._lock:
            live = self._live.get((thread, spot)) or {}
            earlier = {slot: {*live[task, slot]} for slot in new.slots if live.get((task, slot))} if live else {}
            return BegunWrites(new, place, self._clock, earlier)

    def writes_entries(self, begun: BegunWrites, batch_id: str) -> list[Entry]:
        """Returns the entries of writes that were stored just now.

        Args:
            begun: As `begin_writes` returned it.
            batch_id: What is sealed into all of them.
        """
        new, place, known, earlier = begun
        thread, namespace = self._tokens(place)
        spot, batch = Spot(namespace, id_bytes(new.checkpoint_id)), batch_id.encode()
        task = self.names.task(spot, new.task_id)
        lost = {slot for slot in earlier if slot >= 0 and new.first_stays}
        won = [slot for slot in new.slots if slot not in lost]
        gone = [(slot, old) for slot, found in earlier.items() if slot < 0 and new.newest_stays for old in found]
        replaced = [*gone, *((slot, batch) for slot in sorted(lost))]
        entries = [Entry(thread, *spot, Kind.WRITES, task, batch, pack_slots(won), known)] if won else []
        entries += [Entry(thread, *spot, Kind.REPLACED, task, old, pack_slots([slot]), known) for slot, old in replaced]
        with self._lock:
            live = self._writes_of((thread, spot))
            for slot, old in gone:
                live.get((task, slot), set()).discard(old)
            for slot in won:
                live.setdefault((task, slot), set()).add(batch)
        return entries

    def stored(self, entries: Sequence[Entry]) -> bool:
        """Makes the entries of what was stored just now.

        Returns:
            Whether a deletion that this process did not know of may have taken it.
        """
        if not entries:
            return False
        deletions = self.anchor.append(entries)
        self._learn(deletions)
        return deletions > entries[0].known

    def enter(self, view: View, judged: Judged) -> int:
        """Enters an authentic row that was seen and is not required yet. Returns how many checkpoints and writes that were."""
        self.anchor.append([*view.seen(judged)])
        self.forget(view, judged.spot)
        return judged.to_enter

    def forget(self, view: View, spot: Spot) -> None:
        """Forgets the writes of a checkpoint. They are read anew when they are needed."""
        with self._lock:
            self._live.pop((view.names.thread(view.thread_id), spot), None)

    def _writes_of(self, row: tuple[bytes, Spot]) -> _Live:
        if row not in self._live:
            self._live[row] = {}
        return self._live[row]

    # --- entering what is deleted

    def announce(self, thread_id: str, spots: Iterable[Spot] | None = None) -> None:
        """Enters that a deletion begins.

        Args:
            thread_id: The thread.
            spots: The checkpoints that may go; None for the whole thread.
        """
        thread = self.names.thread(thread_id)
        if spots is None:
            self.anchor.append([Entry(thread, b"", b"", Kind.GOING, batch=id_of_now())])
        elif going := [Entry(thread, *spot, Kind.GOING) for spot in spots]:
            self.anchor.append(going)

    def end(self, view: View, ended: Mapping[Spot, Kind], whole: Kind | None = None) -> None:
        """Enters how deletions ended.

        Args:
            view: The thread as it was looked up before it was looked at what is left.
            ended: What became of checkpoints.
            whole: What became of the whole thread, if that was announced.
        """
        entries = [view.ended(spot, kind) for spot, kind in ended.items()]
        if whole is not None:
            entries.append(view.ended(None, whole))
        if entries:
            self.anchor.append(entries)
        with self._lock:
            thread = view.names.thread(view.thread_id)
            for key in [key for key in self._live if key[0] == thread]:
                del self._live[key]
