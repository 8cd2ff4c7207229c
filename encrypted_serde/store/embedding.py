"""Semantic search: the inner store embeds what it is given, and what it is given is sealed.

So it is given *handles*: short texts that mean nothing, one for each text that the plain store would embed. Its embedder is
replaced by one that knows, while the call lasts, which text a handle stands for. What the database sees is the vector of the
text. Everything else, queries among it, is embedded as it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from langgraph.store.base import BaseStore, Embeddings, PutOp, get_text_at_path, tokenize_path

from ..core.opaque import opaque
from ..errors import ConfigurationError
from ..wrapping.stored_item import HANDLES

_FIELDS = "__tokenized_fields"
"""Where the stores keep what they made of ``fields`` (langgraph-checkpoint 4.3, -sqlite 3.1, -postgres 3.2)."""


class HandleEmbeddings(Embeddings):
    """Embeds the texts that handles stand for, and every other text as it is.

    Args:
        embedder: The embedder that the store was configured with.

    Attributes:
        embedder: As given.
        texts: The texts of the handles of calls under way.
    """

    def __init__(self, embedder: Embeddings) -> None:
        self.embedder = embedder
        self.texts: dict[str, str] = {}

    def _resolved(self, texts: Sequence[str]) -> list[str]:
        return [self.texts.get(text, text) for text in texts]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds several texts."""
        return self.embedder.embed_documents(self._resolved(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return self.embedder.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds several texts."""
        return await self.embedder.aembed_documents(self._resolved(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Embeds one text."""
        return await self.embedder.aembed_query(text)


class Indexed(NamedTuple):
    """What the inner store is told to index of one item.

    Attributes:
        paths: For ``PutOp.index``.
        handles: For the field `HANDLES` of the stored value.
        texts: What the handles stand for.
    """

    paths: Literal[False] | list[str]
    handles: dict[str, str]
    texts: dict[str, str]

    def __repr__(self) -> str:
        return opaque(self)


NOT_INDEXED = Indexed(False, {}, {})


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

    @contextmanager
    def embedding(self, texts: Mapping[str, str]) -> Iterator[None]:
        """Has the inner store embed these texts for their handles, as long as a call to it lasts.

        Its embedder stays replaced, and embeds as before what it is given by others.
        """
        if self._inner.embeddings is not self.embeddings:
            self._inner.embeddings = self.embeddings
        self.embeddings.texts.update(texts)
        try:
            yield
        finally:
            for handle in texts:
                self.embeddings.texts.pop(handle, None)

    def of(self, op: PutOp) -> Indexed:
        """Finds the texts that the plain store would embed, at the paths it would look at."""
        if op.index is False or op.value is None:
            return NOT_INDEXED
        paths = self._fields if op.index is None else [(path, tokenize_path(path)) for path in op.index]
        prefix = os.urandom(8).hex()
        handles: dict[str, str] = {}
        texts: dict[str, str] = {}
        for path, tokens in paths:
            found = get_text_at_path(op.value, tokens)
            for number, text in enumerate(found):
                name = f"{path}.{number}" if len(found) > 1 else path
                handle = f"{prefix}-{len(texts)}"
                # The name of a vector in the database. Equal names replace each other there as in the plain store.
                handles[hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]] = handle
                texts[handle] = text
        if not handles:
            return NOT_INDEXED
        return Indexed([f"{HANDLES}.{name}" for name in handles], handles, texts)


def has_index(inner: BaseStore) -> bool:
    """Says whether a store embeds what it is given."""
    return bool(getattr(inner, "index_config", None)) or getattr(inner, "embeddings", None) is not None
