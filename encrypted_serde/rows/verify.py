"""Every rule about the row of a checkpoint, once: for the saver, for maintenance, and for all that read through them.

A row with a manifest is held to it. A row without one is from before `EncryptedSaver`, or was stripped of it; it is read if a
switch is on, and if none of its values proves that we sealed it. Nothing here knows LangGraph's tuples or SQL: a caller takes
a row apart into `Parts`, and what opens a value is a `Reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from ..core import binding
from ..core.binding import Binding
from ..core.opaque import opaque
from ..errors import PlaintextRefused, WrongLocation
from .manifest import Manifest
from .parts import Opened, Parts, bound_to, channel
from .stored import NONE, PLAINTEXT, Form, Stored


class Reader(Protocol):
    """What opens a value."""

    def open(self, found: Stored, bind: Callable[[bool], Binding], *, is_proven: bool = False) -> Opened:
        """Opens a value.

        Args:
            found: As it is stored.
            bind: Makes its place, for a value alone or in the snapshot of a delta channel.
            is_proven: Whether its row carries proof that we sealed it: then no switch helps a value that we did not.

        Raises:
            EncryptedSerdeError: If it does not open, or is neither sealed for its place nor admitted by a switch.
        """
        ...


class Rules(NamedTuple):
    """What the rules depend on: how a saver treats what it is handed. Each default refuses.

    Attributes:
        stores_all_values: It stores every value with the checkpoint.
        prunes: It may take the parent away by pruning.
        has_no_parents: It never keeps a parent.
        added_keys: Checkpoint keys that it adds by itself. They are dropped.
        gathers_sends: It fills ``pending_sends`` by itself. They are left out.
        admits: Whether a switch is on, so that a row without a manifest may be read.
        admits_plaintext: Whether the one for plaintext is.
    """

    stores_all_values: bool = True
    prunes: bool = False
    has_no_parents: bool = False
    added_keys: frozenset[str] = frozenset()
    gathers_sends: bool = False
    admits: bool = False
    admits_plaintext: bool = False


class Verified(NamedTuple):
    """A row whose own fields are verified. Its values are not opened yet.

    Attributes:
        parts: What it was taken apart into.
        manifest: Its manifest; None for a row from before `EncryptedSaver`.
        form: How that is sealed.
        document: The checkpoint, in the form that was verified, without channel values and pending sends; as it is stored in
            a row without a manifest.
        readable: The readable metadata, in the form that was verified.
    """

    parts: Parts
    manifest: Manifest | None
    form: Form
    document: Mapping[str, Any]
    readable: Mapping[str, Any]

    def __repr__(self) -> str:
        return opaque(self)

    @property
    def is_proven(self) -> bool:
        """Whether the row carries proof that we sealed it."""
        return self.manifest is not None


def verify_row(parts: Parts, reader: Reader, rules: Rules) -> Verified:
    """Verifies a row's own fields.

    The row is the checkpoint that it says it is, its manifest covers all that is readable, and every channel that the manifest
    lists is stored, and no other.

    Raises:
        PlaintextRefused: If it has no manifest and no switch admits it, or it was stripped of it.
        WrongLocation: If something readable was changed, or a channel is missing or one too many.
        EncryptedSerdeError: If the manifest does not open.
    """
    if (found := parts.manifest) is None:
        return _without_manifest(parts, rules)
    where = bound_to(binding.manifest, parts.place, parts.checkpoint_id)
    manifest = Manifest.unpack(reader.open(found, lambda _: where, is_proven=True).data)
    document, readable = manifest.verify(parts, rules)
    values, nones = parts.names()
    manifest.check_channels(values, nones, lambda name: not rules.stores_all_values and parts.by_version(name))
    if parts.document.get("pending_sends") and not rules.gathers_sends:
        raise WrongLocation("a sealed checkpoint has no pending sends: these were put there")
    return Verified(parts, manifest, found.form, document, readable)


def _without_manifest(parts: Parts, rules: Rules) -> Verified:
    """Accepts a checkpoint without a manifest, if a switch says that there may be such."""
    if parts.carries_proof:
        raise PlaintextRefused("the checkpoint has values that were sealed for it, and no manifest: it was stripped of it")
    if not rules.admits:
        raise PlaintextRefused("the checkpoint has no manifest: EncryptedSaver did not write it, or it was stripped of it")
    if parts.document.get("id") != parts.checkpoint_id:
        raise WrongLocation("the checkpoint in this row is another one than the row says, or is not admitted")
    if rules.stores_all_values and parts.whole.kind == PLAINTEXT and not rules.admits_plaintext:
        raise PlaintextRefused("the checkpoint was never encrypted")
    return Verified(parts, None, Form(PLAINTEXT), parts.document, parts.metadata)


def open_value(verified: Verified, name: str, found: Stored, reader: Reader, *, in_row: bool) -> Opened:
    """Opens the value of a channel.

    Args:
        verified: Its row.
        name: The channel.
        found: The value, as it is stored.
        reader: Opens it.
        in_row: Whether it is stored in the row itself, and not in one of its own that may be older.
    """
    parts = verified.parts
    if parts.whole.kind != PLAINTEXT:  # part of a value that was opened: as authentic as that, whatever it looks like
        return Opened(found.type_tag, found.data, parts.whole, is_delta=found.is_delta)
    bind = channel(parts.place, name, parts.version(name))
    return reader.open(found, bind, is_proven=verified.is_proven and in_row)


def open_write(found: Stored, bind: Callable[[bool], Binding], reader: Reader, *, is_proven: bool) -> Opened:
    """Opens a pending write, whose None is sealed like every value, and which is never in a snapshot.

    Raises:
        PlaintextRefused: If it is in one: nobody wrote it so.
    """
    if found.is_delta and found.sealed is not None:
        raise PlaintextRefused("a write that was sealed for its place is wrapped in the snapshot of a delta channel")
    return reader.open(found._replace(form=Form(PLAINTEXT)) if found.form.kind == NONE else found, bind, is_proven=is_proven)
