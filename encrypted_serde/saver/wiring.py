"""What the modules of a saver share: built once for each wrapper, never changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol

from ..anchor.client import AnchorClient
from ..core.binding import Place
from ..core.context import EncryptionContext
from ..core.sealer import Sealer
from ..rows.listed import Remembered
from ..wrapping.admission import Admission
from .traits import Traits


class At(NamedTuple):
    """Where in a database something is done, and under which context.

    Attributes:
        place: Thread and namespace.
        checkpoint_id: Which checkpoint; where one is written, its parent. None if there is none.
        context: The encryption context to write under or to expect; the ambient one when None.
    """

    place: Place
    checkpoint_id: str | None
    context: EncryptionContext | None

    @property
    def named(self) -> dict[str, str]:
        """The row, as an error names it."""
        row = {"thread": self.place.thread_id, "namespace": self.place.checkpoint_ns}
        return row if self.checkpoint_id is None else {**row, "checkpoint": self.checkpoint_id}


@dataclass(frozen=True)
class Wiring:
    """The parts that belong to one wrapper.

    Attributes:
        gated: The inner saver behind its gate.
        sealer: Seals and opens.
        serde: How values become bytes.
        admission: What is read that was not sealed for its place.
        traits: What the inner saver does with what it is handed.
        readable_keys: Metadata keys that stay readable.
        searchable_keys: Metadata keys that get a search token.
        gaps_only_in: The only checkpoint whose writes may be incomplete, which is as good as absent; in every other it is
            an error. None where all may.
        anchor: What an anchor is asked and told through; None without one.
        remembered: What the manifests of the checkpoints list that were opened or stored last.
    """

    gated: BaseCheckpointSaver[Any]
    sealer: Sealer
    serde: SerializerProtocol
    admission: Admission
    traits: Traits
    readable_keys: frozenset[str]
    searchable_keys: frozenset[str]
    gaps_only_in: str | None = None
    anchor: AnchorClient | None = None
    remembered: Remembered = field(default_factory=Remembered)
