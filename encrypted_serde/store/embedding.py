"""Semantic search: the inner store embeds what it is given, and what it is given is sealed.

So it is given *handles*: short texts that mean nothing, one for each text that the plain store would embed. Its embedder is
replaced by one that knows the text of each handle. What the database sees is the vector of the text. Everything else,
queries among it, is embedded as it was.

A handle carries its text, so the text is there as long as the inner store has the handle: a caller that is cancelled may leave
its operation in the queue of the store. A handle that nobody knows any more is refused, never embedded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from langgraph.store.base import BaseStore, Embeddings, PutOp, get_text_at_path, tokenize_path

from ..errors import ConfigurationError, MalformedEnvelope
from .filters import Semantics

_FIELDS = "__tokenized_fields"
"""Where the stores keep what they made of ``fields`` (langgraph-checkpoint 4.3, -sqlite 3.1, -postgres 3.2)."""

_HANDLE = re.compile(r"es1v\.[0-9a-f]{32}\.[0-9]+")


class Handle(str):
    """A short text in place of the one to embed.

    Attributes:
        text: The other one; None once it is embedded.
    """

    __slots__ = ("__weakref__", "text")
    text: str | None

    def __new__(cls, handle: str, text: str) -> Handle:
        """Makes a handle of a text."""
        made = super().__new__(cls, handle)
        made.text = text
        return made

    def __str__(self) -> str:
        return self  # who makes text of a text at a path keeps the handle

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str.__str__(self),)


class HandleEmbeddings(Embeddings):
    """Embeds the texts of handles, and every other text as it is.

    Args:
        embedder: The embedder that the store was configured with.

    Attributes:
        embedder: As given.
    """

    def __init__(self, embedder: Embeddings) -> None:
        self.embedder = embedder
        self._handles: WeakValueDictionary[str, Handle] = WeakValueDictionary()

    def handle(self, name: str, text: str) -> Handle:
        """Makes a handle of a text, which is known as long as somebody has it."""
        made = Handle(name, text)
        self._handles[name] = made
        return made

    def _texts(self, given: Sequence[str]) -> list[str]:
        return [self._text(text) if _HANDLE.fullmatch(text) else text for text in given]

    def _text(self, handle: str) -> str:
        known = handle if isinstance(handle, Handle) else self._handles.get(handle)
        if known is None or known.text is None:
            raise MalformedEnvelope("a text that EncryptedStore wants embedded is not known any more: put the item again")
        return known.text

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds several texts."""
        return self.embedder.embed_documents(self._texts(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return self.embedder.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds several texts."""
        return await self.embedder.aembed_documents(self._texts(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return await self.embedder.aembed_query(text)


class Index:
    """Indexes items of a store that searches by meaning.

    Args:
        inner: A store that was configured with ``index=``.

    Raises:
        ConfigurationError: If it does not keep its embedder where the stores of langgraph do.
    """

    def __init__(self, inner: BaseStore) -> None:
        self._inner: Any = inner
        config = getattr(inner, "index_config", None)
        embedder = getattr(inner, "embeddings", None)
        if not isinstance(config, Mapping) or _FIELDS not in config or not isinstance(embedder, Embeddings):
            raise ConfigurationError(
                f"{type(inner).__name__} has an index, but not the embedder and the fields of a store of langgraph: "
                "EncryptedStore cannot index its items"
            )
        self._fields = config[_FIELDS]
        self.embeddings = embedder if isinstance(embedder, HandleEmbeddings) else HandleEmbeddings(embedder)

    def of(self, op: PutOp) -> dict[str, Handle]:
        """Makes handles of the texts that the plain store would embed, at the paths it would look at: for `HANDLES`."""
        if op.index is False or op.value is None:
            return {}
        if self._inner.embeddings is not self.embeddings:
            self._inner.embeddings = self.embeddings
        paths = self._fields if op.index is None else [(path, tokenize_path(path)) for path in op.index]
        prefix = f"es1v.{os.urandom(16).hex()}"
        handles: dict[str, Handle] = {}
        for number, (name, text) in enumerate(_named_texts(op.value, paths)):
            # The name of a vector in the database. Equal names replace each other there as in the plain store.
            vector = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            handles[vector] = self.embeddings.handle(f"{prefix}.{number}", text)
        return handles


def index_of(inner: BaseStore, semantics: Semantics, *, readable_embeddings: bool) -> Index | None:
    """Returns how items of a store are indexed; None if it does not embed what it is given.

    Raises:
        ConfigurationError: If it does, or cannot be looked at, and ``readable_embeddings`` is off; or if it keeps its embedder
            elsewhere than the stores of langgraph.
    """
    embeds: bool | None = bool(getattr(inner, "index_config", None)) or getattr(inner, "embeddings", None) is not None
    if not embeds and not semantics.known:
        embeds = _seems_to_embed(inner)
    if embeds is False:
        return None
    if not readable_embeddings:
        raise ConfigurationError(
            "the inner store embeds what it is given, and vectors give much of the text back to anybody who reads them: "
            "readable_embeddings=True accepts that; leave out index= to do without semantic search"
            if embeds
            else f"whether {type(inner).__name__} embeds what it is given cannot be seen: readable_embeddings=True says that "
            "it has no vectors, or that they may be readable"
        )
    return Index(inner) if embeds else None


def _seems_to_embed(inner: BaseStore, depth: int = 3) -> bool | None:
    """Looks for an embedder, or what configures one, under any name; None if the store cannot be looked at."""
    attributes = dict(getattr(inner, "__dict__", {}))
    for cls in type(inner).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__"):
                attributes[name] = getattr(inner, name, None)
    if not attributes:
        return None
    found: bool | None = False
    for name, value in attributes.items():
        if _is_embedder(name, value):
            return True
        if isinstance(value, BaseStore) and depth:
            found = _seems_to_embed(value, depth - 1) or found
            if found:
                return True
    return found


def _is_embedder(name: str, value: object) -> bool:
    if isinstance(value, Embeddings):
        return True
    if "embed" in name.lower():  # names of fields embed nothing: DynamoDBStore has some without an index
        return bool(value) and not (isinstance(value, list) and all(isinstance(each, str) for each in value))
    return isinstance(value, Mapping) and not value.keys().isdisjoint({"embed", "dims", "embedding", "embeddings"})


def forget(handles: Iterable[Handle]) -> None:
    """Lets go of texts that are embedded: a store in memory keeps the handles."""
    for handle in handles:
        handle.text = None


def _named_texts(value: Mapping[str, Any], paths: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for path, tokens in paths:
        found = get_text_at_path(value, tokens)
        for number, text in enumerate(found):
            yield f"{path}.{number}" if len(found) > 1 else path, text
