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
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..core.binding import Place, version_text

REMEMBERED = 1 << 16
"""Values, and checkpoints, that a process remembers: those that it opened or stored last."""


class Listed(NamedTuple):
    """Channels whose values have rows of their own.

    Attributes:
        values: Channels with a value.
        nones: Channels whose value is None.
    """

    values: list[str]
    nones: list[str]


class Remembered:
    """The values in rows of their own that this process has seen listed. Threads may share it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, ...], bool] = OrderedDict()

    def knows(self, place: Place, checkpoint_id: str) -> bool:
        """Says whether all that a checkpoint lists is remembered."""
        return (*place[:2], checkpoint_id) in self._seen

    def note(self, place: Place, checkpoint_id: str, listed: Listed, versions: Mapping[str, Any]) -> None:
        """Remembers what a checkpoint lists, and forgets the oldest where there is too much."""
        thread_id, checkpoint_ns, _ = place
        self._put((thread_id, checkpoint_ns, checkpoint_id), True)  # before its channels, and so forgotten before them
        for names, has_value in ((listed.values, True), (listed.nones, False)):
            for name in names:
                if name in versions:
                    self._put((thread_id, checkpoint_ns, name, version_text(versions[name])), has_value)

    def has_value(self, place: Place, channel: str, version: Any) -> bool | None:
        """Says whether a version of a channel is listed with a value (or None: False); None if it is not listed."""
        return self._seen.get((*place[:2], channel, version_text(version)))

    def _put(self, key: tuple[str, ...], has_value: bool) -> None:
        self._seen.pop(key, None)
        self._seen[key] = has_value
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def listed_too(self, place: Place, versions: Mapping[str, Any], stored: Collection[str]) -> Listed:
        """Finds channels that are not stored anew, and that an earlier checkpoint lists under the same version."""
        thread_id, checkpoint_ns, _ = place
        seen = {
            name: self._seen.get((thread_id, checkpoint_ns, name, version_text(version)))
            for name, version in versions.items()
            if name not in stored
        }
        return Listed([name for name, has in seen.items() if has], [name for name, has in seen.items() if has is False])
