"""A tiny embedder without a network: words become counts in a few hundred dimensions."""

from __future__ import annotations

import hashlib
import math
import re

from langgraph.store.base import Embeddings

DIMS = 64


class WordEmbeddings(Embeddings):
    """Embeds by hashed words. Deterministic; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        return [_vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _vector(text: str) -> list[float]:
    vector = [0.01] * DIMS
    for word in re.findall(r"\w+", text.lower()):
        vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMS] += 1.0
    length = math.sqrt(sum(part * part for part in vector))
    return [part / length for part in vector]
