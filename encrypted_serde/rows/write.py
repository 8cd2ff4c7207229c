"""Writing the metadata of a row and its manifest, once: for the saver and for re-encryption."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from ..core.format import sealed_text
from ..wrapping.search import is_searchable
from .listed import Listed
from .manifest import KEY, Manifest, digest, split_metadata


class MetadataKeys(NamedTuple):
    """Which metadata the database is to look at.

    Attributes:
        readable: Keys that stay readable, besides those that LangGraph reads.
        searchable: Keys that get a search token.
    """

    readable: Collection[str] = frozenset()
    searchable: Collection[str] = frozenset()


class Writer(NamedTuple):
    """How metadata are written.

    Attributes:
        keys: Which of them the database is to look at.
        token: Makes the search token of a value, given its key.
        dumps: Serializes the private metadata.
    """

    keys: MetadataKeys
    token: Callable[[str, Any], str]
    dumps: Callable[[dict[str, Any]], tuple[str, bytes]]


def readable_and_manifest(
    parent_id: str | None, listed: Listed, document: Mapping[str, Any], metadata: Mapping[str, Any], writer: Writer
) -> tuple[dict[str, Any], bytes]:
    """Returns the metadata that stay readable, search tokens among them, and the manifest, encoded and not sealed yet.

    Args:
        parent_id: Id of the parent, or None.
        listed: What the manifest lists.
        document: The checkpoint as a reader gets it from the saver. Its channel values are not looked at.
        metadata: All of them.
        writer: How they are written.
    """
    readable, private = split_metadata(metadata, writer.keys.readable)
    for name in writer.keys.searchable:
        if is_searchable(value := private.get(name)):
            readable[name] = writer.token(name, value)
    hashed = digest(document, readable)
    manifest = Manifest(document["id"], parent_id, listed.values, listed.nones, writer.dumps(private), hashed)
    return readable, manifest.pack()


def beside(readable: Mapping[str, Any], sealed: bytes) -> dict[str, Any]:
    """Returns the metadata of a row as they are stored: those that stay readable, and the sealed manifest."""
    return {**readable, KEY: sealed_text(sealed)}
