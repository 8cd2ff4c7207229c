"""The metadata of a checkpoint and its manifest: verified, opened, and made anew.

A manifest is never made for a readable part that an older one does not vouch for: a row that was tampered with is reported and
left alone. For a row that has none, the new one vouches for whatever stands there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ..core.binding import Place
from ..core.context import EncryptionContext, parse_context
from ..errors import MalformedEnvelope, WrongLocation
from ..saver.manifest import KEY, Manifest, digest, split_metadata
from ..wrapping.search import is_searchable, search_token
from .coder import MANIFEST, Coder, Opened, as_text, location
from .model import PLAINTEXT, Form, Unconvertible
from .packing import pack, unpack
from .recognise import recognise_text, sealed_in


class Identity(NamedTuple):
    """Which checkpoint a row says it holds.

    Attributes:
        place: Thread and namespace.
        checkpoint_id: Its id.
        parent_id: Its parent's, or None.
        may_be_pruned: Whether its saver prunes, and leaves the checkpoint that it keeps without a parent.
    """

    place: Place
    checkpoint_id: str
    parent_id: str | None
    may_be_pruned: bool


class Vouched(NamedTuple):
    """The metadata of a row, verified as far as it can be.

    Attributes:
        manifest: The manifest; None for a row from before `EncryptedSaver`.
        form: How the manifest is sealed.
        readable: What is readable, without the manifest.
    """

    manifest: Manifest | None
    form: Form
    readable: dict[str, Any]


def open_metadata(coder: Coder, row: Identity, document: Mapping[str, Any], metadata: Any) -> Vouched:
    """Opens the manifest of a row, if it has one, and verifies the readable part against it.

    Args:
        coder: Has the keys.
        row: Which checkpoint it should be.
        document: The checkpoint. Its channel values are not looked at.
        metadata: As JSON gave it.

    Raises:
        WrongLocation: If the row is not what its manifest says.
        EncryptedSerdeError: If the manifest does not open.
    """
    if not isinstance(metadata, Mapping):
        raise MalformedEnvelope("the metadata is no mapping")
    if document.get("id") != row.checkpoint_id:
        raise WrongLocation("the checkpoint in this row is another one than the row says")
    text = metadata.get(KEY)
    sealed = sealed_in(text)
    if sealed is None:
        return Vouched(None, Form(PLAINTEXT), dict(metadata))
    form = recognise_text(text)
    manifest = Manifest.unpack(coder.open_bound(sealed, form, location(row.place, MANIFEST, row.checkpoint_id), {}).data)
    readable = {name: value for name, value in metadata.items() if name != KEY}
    if manifest.checkpoint_id != row.checkpoint_id:
        raise WrongLocation("the manifest is that of another checkpoint")
    if digest(document, readable) != manifest.digest:
        raise WrongLocation("the readable part of the checkpoint or of its metadata was changed")
    is_pruned = row.parent_id is None and row.may_be_pruned and "counters_since_delta_snapshot" not in readable
    if row.parent_id != manifest.parent_id and not is_pruned:
        raise WrongLocation("the checkpoint has another parent than it was written with")
    return Vouched(manifest, form, readable)


def check_channels(vouched: Vouched, values: Collection[str], nones: Collection[str]) -> None:
    """Compares the channels that a row has with those that its manifest lists.

    Raises:
        WrongLocation: If one is missing.
    """
    if vouched.manifest is None:
        return
    if missing := {*vouched.manifest.values} - {*values} or {*vouched.manifest.nones} - {*nones}:
        raise WrongLocation(f"the value of channel {min(missing)!r} is missing")


def sealed_metadata(
    coder: Coder,
    row: Identity,
    document: Mapping[str, Any],
    vouched: Vouched,
    channels: tuple[list[str], list[str]],
    context: EncryptionContext,
    readable_keys: Collection[str],
    searchable_keys: Collection[str],
) -> dict[str, Any]:
    """Gives the metadata of a row as `EncryptedSaver` writes it.

    Args:
        coder: Has the keys.
        row: Which checkpoint it is.
        document: The checkpoint as it will stand there.
        vouched: What `open_metadata` gave.
        channels: Channels with a value and channels with None, for a row that has no manifest yet.
        context: For a row that has no manifest yet.
        readable_keys: Keys that stay readable.
        searchable_keys: Keys that get a search token.
    """
    old = vouched.manifest
    if old is not None and old.private[0] != "msgpack":  # of another serializer: it can be copied, but not looked into
        manifest, readable = old, vouched.readable
    else:
        kept = {} if old is None else _unpacked(old.private)
        tokens = vouched.readable.keys() & kept.keys()  # what is both is a token of a value that is private
        given = {name: value for name, value in vouched.readable.items() if name not in tokens}
        readable, private = split_metadata(given, readable_keys)
        private = {**kept, **private}
        under = context if old is None else parse_context(vouched.form.context)
        for name in sorted({*tokens, *searchable_keys}):
            if is_searchable(value := private.get(name)):
                readable[name] = search_token(coder.keys.encryption_key(under.pairs), name, under, value)
        values, nones = channels if old is None else (old.values, old.nones)
        parent_id = row.parent_id if old is None else old.parent_id
        manifest = Manifest(row.checkpoint_id, parent_id, values, nones, ("msgpack", pack(private)), b"")
    packed = manifest._replace(digest=digest(document, readable)).pack()
    where = location(row.place, MANIFEST, row.checkpoint_id)
    return {**readable, KEY: as_text(coder.seal_bound(Opened("msgpack", packed, vouched.form), where, {}, context))}


def plain_metadata(vouched: Vouched) -> dict[str, Any]:
    """Gives the metadata of a row as a saver without `EncryptedSaver` writes it.

    Raises:
        Unconvertible: If it is nothing that JSON could hold.
    """
    return {**vouched.readable, **({} if vouched.manifest is None else _unpacked(vouched.manifest.private))}


def _unpacked(private: tuple[str, bytes]) -> dict[str, Any]:
    inner_type, packed = private
    value = unpack(packed) if inner_type == "msgpack" else None
    if not isinstance(value, dict):
        raise Unconvertible("the private metadata is nothing that could be taken apart")
    return value
