"""`EncryptedStore`: wraps any store so that nobody who has its database reads or moves what it remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal, cast

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import BaseStore, Op, Result, TTLConfig

from ..audit import AuditListener, make_sealer
from ..core.keys import Key, KeyProvider, SearchKeyProvider
from ..core.sealer import Sealer
from ..errors import ConfigurationError
from ..wrapping.admission import Admission
from ..wrapping.description import summary
from ..wrapping.steps import arun, run
from .batch import Hidden
from .dispatch import ask
from .embedding import index_of
from .fields import Fields
from .filters import semantics_of
from .items import Items
from .marks import Marks
from .names import Names, Pseudonyms
from .planner import Planner
from .search import Ground
from .tenancy import ContextSource, Tenancy
from .values import Objects


class EncryptedStore(BaseStore):
    """Wraps a store: every value is sealed, and bound to its namespace and key.

    Use it wherever the inner store is used: ``graph.compile(store=EncryptedStore(PostgresStore(conn), keys))``. It has the
    methods of the inner store for setting up, expiry and as a context manager, sync and async as they are there.

    Readable by nature stay namespaces and keys (but see ``pseudonymous_names``), times, sizes, and how many items there are.
    Not detectable is that an item was deleted, or an older value of the same key put back.

    Args:
        inner: The store to wrap. It goes on to work as it did; what is written through the wrapper it cannot read.
        keys: A `Key`, a `KeyProvider` such as `Keyring`, or a `Sealer`, which has options of its own.
        serde: How values become bytes before they are sealed; langgraph's `JsonPlusSerializer` by default.
        searchable: Fields that ``search(filter=)`` finds inside the database by equality, without their being readable.
            Which items share a value can be seen.
        readable: Fields that are copied readably, so that the database can answer every filter on them.
        pseudonymous_names: The database sees keyed pseudonyms in place of labels of namespaces and of keys.
        readable_embeddings: The inner store searches by meaning: vectors of the plaintext are readable. Their reader can
            find out much of the text.
        context: The encryption context of what is written, and expected of what is read: a mapping, or a callable that
            gives one. The ambient `encryption_context` where it is, or gives, None.
        required_context: Names that the encryption context must have, or nothing is written: ``("tenant_id",)``.
        require_context_to_read: Refuse to read where no encryption context is set: a search would return the items of all.
        allow_plaintext: Moving in: items that were never encrypted are read, and with ``pseudonymous_names`` those under
            readable names too. **While this is on, nothing is promised against somebody who can write rows.**
        values: ``"plain"``: values come back as the plain store of that class would return them: dates as text from
            SqliteStore. ``"objects"``: they come back as the objects they were.
        audit: Told of everything that is sealed, opened and refused. See `encrypted_serde.audit`.

    Raises:
        TypeError: If ``inner`` is no store, or another argument is of the wrong type.
        ConfigurationError: If an option cannot be used: an inner store with an index without ``readable_embeddings``.

    Attributes:
        inner: As given.
        serde: How values become bytes.
    """

    def __new__(cls, inner: BaseStore | None = None, *_: Any, **__: Any) -> EncryptedStore:
        """Makes an instance of a class that has the methods of the inner store."""
        return object.__new__(cls if inner is None else class_for(cls, inner))  # None: it is being copied

    def __init__(
        self,
        inner: BaseStore,
        keys: Key | KeyProvider | Sealer,
        *,
        serde: SerializerProtocol | None = None,
        searchable: Collection[str] = (),
        readable: Collection[str] = (),
        pseudonymous_names: bool = False,
        readable_embeddings: bool = False,
        context: ContextSource | None = None,
        required_context: Iterable[str] = (),
        require_context_to_read: bool = False,
        allow_plaintext: bool = False,
        values: Literal["plain", "objects"] = "plain",
        audit: AuditListener | None = None,
    ) -> None:
        if not isinstance(inner, BaseStore) or isinstance(inner, EncryptedStore):
            raise TypeError(f"inner must be a store that is not encrypted yet, not {type(inner).__name__}")
        super().__init__()
        if values not in ("plain", "objects"):
            raise ConfigurationError(f"values is 'plain' or 'objects', not {values!r}")
        if values == "objects" and allow_plaintext:
            raise ConfigurationError(
                "with allow_plaintext a namespace would hold objects beside what the plain store made of them: move in first, "
                "with values='plain'"
            )
        self.inner = inner
        self.serde = JsonPlusSerializer() if serde is None else serde
        semantics = semantics_of(inner)
        fields = Fields.of(searchable, readable, semantics)
        self._sealer = make_sealer(
            keys, required_context=required_context, require_context_to_read=require_context_to_read, audit=audit
        )
        if (fields.searchable or pseudonymous_names) and not isinstance(self._sealer.keys, SearchKeyProvider):
            raise ConfigurationError(
                "searchable= and pseudonymous_names= need to know every key: "
                f"{type(self._sealer.keys).__name__} has no search_keys()"
            )
        tenancy = Tenancy(self._sealer, context)
        self._admission = Admission(self._sealer, plaintext=allow_plaintext, allowlist_from=self.serde)
        kept = (Objects if values == "objects" else semantics.values)(self.serde)
        self._items = Items(self._sealer, kept, self._admission, fields, tenancy)
        names = Pseudonyms(tenancy, moving_in=allow_plaintext) if pseudonymous_names else Names(semantics.separator)
        ground = Ground(inner, self._items, names, semantics, Marks(self._items, semantics))
        self._planner = Planner(ground, index_of(inner, semantics, readable_embeddings=readable_embeddings))

    @property
    def admitted_reads(self) -> Counter[str]:
        """How many items the switch for moving in let through: by ``plaintext``."""
        return self._admission.admitted

    @property
    def passed_over(self) -> Counter[str]:
        """How many rows searches left out: of another ``namespace``, returned by mistake, or ``KeyErased``."""
        return self._items.passed_over

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {type(self.inner).__name__}, {summary(self._sealer, self._admission)}>"

    @property
    def ttl_config(self) -> TTLConfig | None:  # type: ignore[override]  # an attribute there
        """The inner store's."""
        return self.inner.ttl_config

    @property
    def supports_ttl(self) -> bool:  # type: ignore[override]  # an attribute there
        """The inner store's."""
        return self.inner.supports_ttl

    # --- batches: all else comes to these two

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes operations, as the inner store does.

        Raises:
            EncryptedSerdeError: If an item that is read does not open, or another cannot be sealed.
            ValueError: If a filter or a namespace is one that the inner store refuses.
        """
        ops = Hidden(ops)
        if self._planner.is_simple(ops):  # by far the most frequent, and it needs no more than this
            question = self._planner.question(ops[0])
            return [question.open(run(ask(self.inner, question.ops)))]
        return cast("list[Result]", run(self._planner.steps(ops)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes operations, as `batch` does. What takes long, or may ask a service for a key, works in a thread."""
        return cast("list[Result]", await arun(self._planner.steps(Hidden(ops))))


def class_for(cls: type[EncryptedStore], inner: BaseStore) -> type[EncryptedStore]:
    """Returns the subclass of a wrapper with what an inner store has for setting up, expiry, closing and search by meaning."""
    return _subclass(cls, frozenset(name for name in _FOLLOWED if hasattr(inner, name)))


@lru_cache(maxsize=256)
def _subclass(cls: type[EncryptedStore], names: frozenset[str]) -> type[EncryptedStore]:
    members: dict[str, Any] = {name: _FOLLOWED[name] for name in names}
    members |= {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls,), members)


def _enter(self: Any) -> Any:
    """Enters the inner store."""
    self.inner.__enter__()
    return self


async def _aenter(self: Any) -> Any:
    """Enters the inner store."""
    await self.inner.__aenter__()
    return self


_SAME = ("index_config", "embeddings", "setup", "sweep_ttl", "start_ttl_sweeper", "stop_ttl_sweeper", "__exit__", "__aexit__")
_FOLLOWED: dict[str, Any] = {name: property(attrgetter(f"inner.{name}")) for name in _SAME}
_FOLLOWED |= {"__enter__": _enter, "__aenter__": _aenter}
