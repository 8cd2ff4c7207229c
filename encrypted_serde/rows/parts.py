"""The row of a checkpoint, taken apart: what a saver returned and what SQL returned become the same thing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..core import binding
from ..core.binding import Binding, Place
from ..core.claims import NO_CLAIMS, Claims
from ..core.opaque import opaque
from ..errors import ConfigurationError, MalformedEnvelope
from .manifest import KEY
from .stored import NONE, PLAINTEXT, Form, Stored, find_part

_SEALED_NONE = "null"
_TEXT = {str}
_MAPPING = (dict, Mapping)  # the first by itself is found without asking every class whether it is one


class Parts(NamedTuple):
    """A row of a checkpoint, taken apart.

    Attributes:
        place: Thread and namespace.
        checkpoint_id: What the row says it is.
        parent_id: Its parent, as the row says; None or empty if it has none.
        document: The checkpoint. Its channel values are looked at in the next two.
        metadata: The metadata, manifest included.
        values: Channel values that the row holds.
        apart: Channel values in rows of their own, found by the versions of the checkpoint.
        manifest: The manifest as it is stored, from `find_manifest`; None if there is none.
        whole: How the whole checkpoint is stored, where that is one sealed value; its parts are plaintext then.
        known_nones: Channels whose value is None, where somebody who took the row apart knows them.
    """

    place: Place
    checkpoint_id: str
    parent_id: str | None
    document: Mapping[str, Any]
    metadata: Mapping[str, Any]
    values: Mapping[str, Stored]
    apart: Mapping[str, Stored]
    manifest: Stored | None
    whole: Form = Form(PLAINTEXT)
    known_nones: Collection[str] | None = None

    def __repr__(self) -> str:
        return opaque(self)

    def version(self, channel: str) -> Any:
        """Returns the version of a channel, or None."""
        return self.document["channel_versions"].get(channel)

    def names(self) -> tuple[set[str], Collection[str]]:
        """Returns channels with a value, and those whose value is None. Savers prefer values in rows of their own."""
        nones = self.known_nones
        if nones is None:
            inside = [name for name, found in self.values.items() if name not in self.apart and is_none(found)]
            nones = inside + [name for name, found in self.apart.items() if is_none(found)]
        return (self.values.keys() | self.apart.keys()).difference(nones), nones

    @property
    def carries_proof(self) -> bool:
        """Whether the header of a value says that `EncryptedSaver` sealed it."""
        return any(found.is_bound for part in (self.values, self.apart) for found in part.values())

    def by_version(self, channel: str) -> bool:
        """Says whether a value is sealed, in a row of its own, and was found by the version of its channel."""
        found = self.apart.get(channel)
        return found is not None and found.is_bound and channel in self.document["channel_versions"]


class Opened(NamedTuple):
    """A value, opened.

    Attributes:
        inner_type: Format of the plaintext.
        data: The plaintext.
        form: How it was stored.
        claims: Of a bound value.
        is_delta: Whether it is stored in the snapshot of a delta channel; the plaintext is without it.
        kind: How it was admitted, if it was not sealed for its place.
    """

    inner_type: str
    data: bytes
    form: Form
    claims: Claims = NO_CLAIMS
    is_delta: bool = False
    kind: str = ""

    def __repr__(self) -> str:
        return opaque(self)

    @property
    def is_none(self) -> bool:
        """Whether it is None."""
        return self.inner_type == "null" and not self.is_delta


def find_manifest(metadata: Mapping[str, Any], find: Callable[[object], Stored] = find_part) -> Stored | None:
    """Finds the manifest among the metadata of a row; None if nothing there looks like one."""
    stored = metadata.get(KEY)
    if type(stored) is Stored:  # found already
        return stored
    found = find(stored) if isinstance(stored, str) else None
    return None if found is None or (found.sealed is None and found.error is None) else found


def is_none(found: Stored) -> bool:
    """Says whether a value is None: encrypting serializers seal None too, as a type of their own."""
    return found.form.kind == NONE or found.type_tag.partition("+")[0] == _SEALED_NONE


def channel(place: Place, name: str, version: object) -> Callable[[bool], Binding]:
    """Returns what makes the place of a channel's value, alone or in a snapshot."""
    return lambda is_delta: bound_to(binding.delta if is_delta else binding.value, place, name, version)


def bound_to(make: Callable[..., Binding], *known: Any) -> Binding:
    """Calls a maker with what a row says of itself.

    Raises:
        MalformedEnvelope: If that cannot be encoded: then we have not written it.
    """
    try:
        return make(*known)
    except ConfigurationError as error:
        raise MalformedEnvelope(f"a stored name has an impossible form: {error}") from None


def check_document(document: Any) -> dict[str, Any]:
    """Refuses what no saver was ever handed as a checkpoint, before its parts are looked at.

    Raises:
        MalformedEnvelope: If it is none.
    """
    if not isinstance(document, _MAPPING):
        raise MalformedEnvelope("the row holds no checkpoint")
    for part in (document.get("channel_values"), document.get("channel_versions")):
        if not isinstance(part, _MAPPING) or not {*map(type, part)} <= _TEXT:
            raise MalformedEnvelope("the checkpoint has no channels")
    if not isinstance(document.get("pending_sends") or [], list):
        raise MalformedEnvelope("the checkpoint's pending sends are no list")
    return document  # type: ignore[return-value]  # a mapping is all that is asked of it
