"""Which channels a saver stores for a checkpoint, so that the manifest lists what is stored and not what the graph handed over.

A saver that stores the whole checkpoint as one value stores every channel that it is handed. One that stores a value per
channel and version stores only channels with a new version, and returns whatever the versions of the checkpoint name: a value
that an earlier checkpoint stored under the same version too, although the graph has lost its channel since. So there a
manifest lists

* channels with a new version,
* channels that an earlier checkpoint lists under the same version, and whose values have rows of their own, whether the graph
  still has them or not: the parent above all, and whatever else of the thread this process opened or stored last (a copy of a
  checkpoint has its parent, and shares its values),
* scalars that the saver keeps beside the checkpoint, which it stores each time.

A value without a new version that no earlier checkpoint lists (the default of a channel that is of another class now) is
stored nowhere, and not listed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..core.binding import Place, version_text
from ..core.encoding import lp, lps, take_field

REMEMBERED = 1 << 16
"""Values, and checkpoints, that a process remembers: those that it opened or stored last."""


class Listed(NamedTuple):
    """What a manifest lists.

    Attributes:
        values: Channels with a value.
        nones: Channels whose value is None.
        checkpoint: What `Remembered` knows the checkpoint by; None where nothing is remembered of it.
        seen: What it is to remember of its channels once they are stored.
    """

    values: list[str]
    nones: list[str]
    checkpoint: tuple[Any, ...] | None = None
    seen: Mapping[tuple[Any, ...], bool] = MappingProxyType({})

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Listed:
        """Lists channels by their values."""
        nones = [name for name, value in values.items() if value is None]
        return cls([name for name in values if name not in nones], nones)


class Remembered:
    """The values in rows of their own that this process has seen listed. Threads may share it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[Any, ...], int] = OrderedDict()

    def knows(self, place: Place, checkpoint_id: str, manifest: str | None = None) -> bool:
        """Says whether all that a checkpoint lists is remembered; if its manifest is given, whether it is that of this one."""
        noted = self._seen.get((place.encoded, checkpoint_id))
        return noted is not None and (manifest is None or noted == hash(manifest))

    def listed(
        self, place: Place, checkpoint_id: str, versions: Mapping[str, Any], stored: Mapping[str, bool | None]
    ) -> Listed:
        """Returns what a checkpoint lists of channels with rows of their own.

        Args:
            place: Thread and namespace.
            checkpoint_id: The checkpoint.
            versions: The versions of its channels.
            stored: Channels of which is known whether a value is stored under that version (or None: False), or nothing (None).
                Of the others those are listed that an earlier checkpoint lists under the same version.
        """
        where, seen = place.encoded, dict[tuple[Any, ...], bool]()
        listed = Listed([], [], (where, checkpoint_id), seen)
        for name, version in versions.items():
            key = where, name, version if type(version) is str else version_text(version)
            has_value = stored[name] if name in stored else self._seen.get(key)
            if has_value is not None:
                seen[key] = bool(has_value)
                (listed.values if has_value else listed.nones).append(name)
        return listed

    def forget(self, thread_ids: Iterable[object]) -> None:
        """Forgets the values of threads, since they may be gone. Takes as long for many threads as for one."""
        threads = {lps((str(thread_id),)) for thread_id in thread_ids}
        for key in [key for key in [*self._seen] if lp(take_field(key[0], 0)[0]) in threads]:
            self._seen.pop(key, None)

    def forget_all(self) -> None:
        """Forgets the values of all threads."""
        self._seen.clear()

    def note(self, listed: Listed, manifest: object) -> None:
        """Remembers what a checkpoint lists, and by its manifest that it does; forgets the oldest where there is too much."""
        if listed.checkpoint is None:
            return
        seen, known_by = self._seen, hash(manifest) if isinstance(manifest, str) else 0
        for key, value in {listed.checkpoint: known_by, **listed.seen}.items():  # it is forgotten before its channels
            seen.pop(key, None)
            seen[key] = value
        while len(seen) > REMEMBERED:
            seen.popitem(last=False)
