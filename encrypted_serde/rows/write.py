"""Writing the metadata of a row and its manifest, once: for the saver and for re-encryption."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..core import binding
from ..core.binding import Binding, Place
from ..core.format import sealed_text
from ..wrapping.search import is_searchable
from .manifest import KEY, LANGGRAPH_KEYS, Manifest, digest, split_metadata


class MetadataKeys(NamedTuple):
    """Which metadata the database is to look at.

    Attributes:
        readable: Keys that stay readable, besides those that LangGraph reads.
        searchable: Keys that get a search token.
    """

    readable: Collection[str] = frozenset()
    searchable: Collection[str] = frozenset()


class Writer(NamedTuple):
    """How a row is written.

    Attributes:
        keys: Which metadata the database is to look at.
        token: Makes the search token of a value, given its key.
        dumps: Serializes the private metadata.
        seal: Seals the manifest for its place.
    """

    keys: MetadataKeys
    token: Callable[[str, Any], str]
    dumps: Callable[[dict[str, Any]], tuple[str, bytes]]
    seal: Callable[[bytes, Binding], bytes]


class Listing(NamedTuple):
    """What a manifest says besides the metadata.

    Attributes:
        checkpoint_id: Id of the checkpoint.
        parent_id: Id of its parent, or None.
        values: Channels of which a value is stored.
        nones: Channels of which None is stored.
    """

    checkpoint_id: str
    parent_id: str | None
    values: list[str]
    nones: list[str]


def sealed_metadata(
    place: Place, listing: Listing, document: Mapping[str, Any], metadata: Mapping[str, Any], writer: Writer
) -> dict[str, Any]:
    """Returns the metadata of a row as they are stored: what stays readable, search tokens, and the manifest.

    Args:
        place: Thread and namespace.
        listing: What the manifest lists.
        document: The checkpoint as a reader gets it from the saver. Its channel values are not looked at.
        metadata: All of them.
        writer: How it is written.
    """
    readable, private = split_metadata(metadata, LANGGRAPH_KEYS.union(writer.keys.readable))
    for name in writer.keys.searchable:
        if is_searchable(value := private.get(name)):
            readable[name] = writer.token(name, value)
    return with_manifest(place, Manifest(*listing, writer.dumps(private), b""), document, readable, writer.seal)


def with_manifest(
    place: Place,
    manifest: Manifest,
    document: Mapping[str, Any],
    readable: dict[str, Any],
    seal: Callable[[bytes, Binding], bytes],
) -> dict[str, Any]:
    """Returns readable metadata with a manifest beside them, which gets the digest of both."""
    packed = manifest._replace(digest=digest(document, readable)).pack()
    return {**readable, KEY: sealed_text(seal(packed, binding.manifest(place, manifest.checkpoint_id)))}
