"""The rows of stores: items that `EncryptedStore` seals, each bound to its namespace and key.

A sealed item has one form, whatever checkpoints are brought to: its whole value in one field, bound, and beside it readable
copies and search tokens, which say no more than the sealed value does. Nothing is built of a value: msgpack is taken apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

from ..core import binding
from ..core.binding import Binding
from ..core.context import NO_CONTEXT, EncryptionContext
from ..core.format import sealed_text
from ..core.keys import Key
from ..core.opaque import opaque
from ..errors import ConfigurationError, MalformedEnvelope, WrongLocation
from ..rows.parts import Opened
from ..rows.stored import PLAINTEXT, Form, Stored, find_part
from ..wrapping.inert import Inert, unpack
from ..wrapping.json_form import equal_as_json
from ..wrapping.search import PREFIX as TOKEN_PREFIX
from ..wrapping.search import field_token
from ..wrapping.serialize import JSON
from ..wrapping.stored_item import (
    ABSENT,
    DICTIONARY,
    HANDLES,
    KEY,
    MARK,
    NAMED,
    NO_MARK,
    at_path,
    context_mark,
    path_name,
    path_of,
    without_names,
)
from .codec import ITEM, ITEM_VALUE, RowCodec
from .database import Database
from .report import Seen, Unconvertible
from .table import Column, Row, Table, parse_json

_VECTORS = "store_vectors"
_UNREADABLE = "a search token is stored beside a value that only the application's serializer can read"
_INTEGERS = range(-(1 << 63), 1 << 64)  # beyond these SqliteStore reads floats


class OpenedItem(NamedTuple):
    """An item, opened, with what is stored beside it verified.

    Attributes:
        opened: The sealed value; that of a plaintext item in the form in which it would be sealed.
        value: It, taken apart; None if only a serializer of the application can read it.
        stored: The row as it is stored.
        tokens: The fields of which a search token is stored beside it.
    """

    opened: Opened
    value: Mapping[Any, Any] | None
    stored: Mapping[str, Any]
    tokens: frozenset[str]

    def __repr__(self) -> str:
        return opaque(self)


class StoreItems(Table):
    """Items."""

    name = "store"
    key = ("prefix", "key")
    changed = ("value",)
    has_checkpoint_id = False
    owner = "prefix"
    required = frozenset({"prefix", "key", "value"})
    # A record of a key, which the store makes anew where it needs it, is no item.
    selects = "NOT (coalesce(length(t.prefix), 0) = 37 AND substr(t.prefix, 1, 5) = 'es1.k')"
    types: tuple[type, ...] = (str,)
    has_paths = False
    integers: range | None = None  # those that the store reads; None for all

    def __init__(self, database: Database, columns: Collection[str]) -> None:
        super().__init__(database, columns)
        value = Column("value", self.types, sql=database.json_text("t.value"))  # whole: the head of JSON is no JSON
        self.columns = (Column("prefix"), Column("key"), value)

    def look(self, row: Row, readable_keys: Collection[str] | None) -> Iterator[Seen]:
        """Says how the item is stored, and which fields of a sealed one are readable."""
        stored = self._stored(row)
        found = _find(stored)
        yield Seen(ITEM_VALUE, ITEM, found.form, row.size)
        if readable_keys is None or found.form.kind == PLAINTEXT:
            return
        for name, copy in _beside(stored).items():
            if not _is_token(copy) and _field(name) not in readable_keys:
                yield Seen(ITEM_VALUE, f"readable field {name}", Form(PLAINTEXT), len(_as_json(copy)))

    def open(self, row: Row, codec: RowCodec) -> OpenedItem:
        """Opens the value, and compares what is stored beside it."""
        stored = self._stored(row)
        found = _find(stored)
        opened = codec.open(found, lambda _: _place(row))
        if found.form.kind == PLAINTEXT:
            return OpenedItem(opened, stored, stored, frozenset())
        _check_mark(stored, row, opened.form, codec)
        value, beside = _taken_apart(opened), _beside(stored)
        if value is None:
            return OpenedItem(opened, None, stored, frozenset(name for name in beside if _is_token(beside[name])))
        return OpenedItem(opened, value, stored, self._tokens(value, beside, opened.form, codec))

    def _tokens(self, value: Mapping[Any, Any], beside: Mapping[str, Any], form: Form, codec: RowCodec) -> frozenset[str]:
        """Verifies what is stored beside a value, and returns the names of those that are search tokens.

        Copies and tokens of what JSON cannot hold (dates, enums) are compared by the store when it reads them.

        Raises:
            WrongLocation: If one is neither a copy nor the token of the sealed field of its name.
        """
        context = form.context or NO_CONTEXT
        tokens: set[str] = set()
        key: Key | None = None
        for name, copy in beside.items():
            sealed = value.get(name, ABSENT) if path_of(name) is None else at_path(value, _field(name))
            if sealed is ABSENT:
                raise WrongLocation(f"the field {_field(name)!r} beside a sealed item is none of it")
            is_json = _is_json(sealed)
            if is_json and equal_as_json(copy, sealed):
                continue
            if _is_token(copy) and isinstance(sealed, Inert):  # of an enum, say
                tokens.add(name)
            elif _is_token(copy):
                key = key or codec.keys.decryption_key(form.key_id, context.pairs)
                if copy != field_token(key, _field(name), context, sealed, ends_at_nul=self.has_paths):
                    raise WrongLocation(f"the search token of field {name!r} is not that of the sealed item")
                tokens.add(name)
            elif is_json:
                raise WrongLocation(f"the readable copy of field {name!r} is not that of the sealed item")
        return frozenset(tokens)

    def weight(self, row: Row) -> int:
        """Returns the size of the value as `recode` would write it."""
        return len(self.encoded(self._stored(row)))

    def recode(self, row: Row, codec: RowCodec) -> tuple[Any, ...]:
        """Returns the value, sealed anew with what is stored beside it, or in plaintext if that is asked for."""
        item = self.open(row, codec)
        form, context = item.opened.form, codec.context_beside(item.opened.form, row.cells["prefix"])
        key = None if codec.form == PLAINTEXT else codec.keys.encryption_key(context.pairs)
        if key is None or key.id != form.key_id:
            _require_readable_names(item, row)
        if key is not None:
            stored = self._beside(item, key, context, codec)
            stored |= {MARK: _mark(row, key, context)} if codec.makes_marks else {}
            stored[KEY] = sealed_text(codec.seal(item.opened, _place(row), context))
        elif item.value is None:
            raise Unconvertible("only the application's serializer can read the value")
        else:
            stored = dict(item.value)
        return (self._written(self.encoded(stored), row),)

    def _beside(self, item: OpenedItem, key: Key, context: EncryptionContext, codec: RowCodec) -> dict[str, Any]:
        """Returns readable copies, search tokens and handles: those that were there, and those that are asked for."""
        found = {} if item.opened.form.kind == PLAINTEXT else {**item.stored}
        stored = {name: copy for name, copy in found.items() if name not in (KEY, MARK, *item.tokens)}
        searched = {*map(_field, item.tokens)}
        if item.value is None:
            if searched:
                raise Unconvertible(_UNREADABLE)
            return stored
        fields = codec.fields
        for name in {*fields.readable, *fields.searchable, *searched}:
            value = at_path(item.value, name) if self.has_paths else item.value.get(name, ABSENT)
            if name not in fields.readable:
                value = field_token(key, name, context, value, ends_at_nul=self.has_paths) or ABSENT
                if value is ABSENT and name in searched:
                    raise Unconvertible(_UNREADABLE)
            if value is not ABSENT:
                stored[path_name(name) if self.has_paths and "." in name else name] = value
        return stored

    def _fits(self, number: float) -> bool:
        return (self.integers is None or number in self.integers) if type(number) is int else math.isfinite(number)

    def encoded(self, value: Any) -> str:
        """Returns JSON as the store could have written it.

        Raises:
            Unconvertible: If JSON cannot hold it.
        """
        if not _is_json(value, self._fits):
            raise Unconvertible("something in it cannot be expressed in JSON")
        return _as_json(value)

    def _written(self, text: str, row: Row) -> Any:
        """Returns text as the column holds it."""
        return text

    def _stored(self, row: Row) -> dict[str, Any]:
        cells = self.checked(row)
        stored = row.once("value", lambda: parse_json(cells["value"]))
        if not isinstance(stored, dict):
            raise MalformedEnvelope("a row that no store could have written: its value is no object")
        return stored


class SqliteItems(StoreItems):
    """Items in SQLite, whose column of values takes JSON as bytes or as text."""

    types = (bytes, str)
    has_paths = True
    integers = _INTEGERS

    def _written(self, text: str, row: Row) -> Any:
        return text if isinstance(row.cells["value"], str) else text.encode()


class Vectors:
    """The vectors that a store keeps beside its items, to search them by meaning. They give much of the text away.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._where = f"FROM {_VECTORS} WHERE {database.same(('prefix', 'key'), '')}"
        self._exist = bool(database.execute(database.columns_of, (_VECTORS,)))

    def of(self, prefix: str, key: str) -> int:
        """Returns how many vectors an item has."""
        found = self._database.execute(f"SELECT count(*) {self._where}", (prefix, key)) if self._exist else [(0,)]
        return int(found[0][0])

    def delete(self, prefix: str, key: str) -> None:
        """Deletes the vectors of an item: not every database does so by itself."""
        if self._exist:
            self._database.execute(f"DELETE {self._where}", (prefix, key))


# --- what is stored in a row ---------------------------------------------------------------------------------------------


def _find(stored: dict[str, Any]) -> Stored:
    sealed = stored.get(KEY)
    found = find_part(sealed) if isinstance(sealed, str) else None
    # A user's own "es1" is part of a plaintext item.
    return found if found is not None and found.form.kind != PLAINTEXT else find_part(stored)


def _beside(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: copy for name, copy in stored.items() if name not in (KEY, HANDLES, MARK)}


def _field(name: str) -> str:
    """Returns the field that a copy or token is of."""
    return path_of(name) or name


def _mark(row: Row, key: Key, context: EncryptionContext) -> str:
    """Makes the mark by which the store finds items of one context, as it would write it."""
    return NO_MARK if str(row.cells["prefix"]).split(".")[0] == DICTIONARY[0] else context_mark(key, context.encoded)


def _check_mark(stored: Mapping[str, Any], row: Row, form: Form, codec: RowCodec) -> None:
    """Verifies the mark beside a sealed item. Items under a provider that keeps no search keys have none.

    Raises:
        WrongLocation: If it is that of another context.
    """
    if MARK not in stored or form.key_id is None:
        return
    context = form.context or NO_CONTEXT
    if stored[MARK] != _mark(row, codec.keys.decryption_key(form.key_id, context.pairs), context):
        raise WrongLocation("the mark beside a sealed item is not that of its context")


def _is_token(copy: object) -> bool:
    return isinstance(copy, str) and copy.startswith(TOKEN_PREFIX)


def _place(row: Row) -> Binding:
    try:
        return binding.item(row.cells["prefix"].split("."), row.cells["key"])
    except ConfigurationError as error:
        raise MalformedEnvelope(f"a row under names that no item can have: {error}") from None


# --- what was sealed ----------------------------------------------------------------------------------------------------


def _taken_apart(opened: Opened) -> Mapping[Any, Any] | None:
    """Takes a value apart; None if it is of a serializer that is not ours."""
    inner_type, data, _ = without_names(opened.inner_type, opened.data)
    if inner_type not in (JSON, "msgpack"):
        return None
    value = json.loads(data) if inner_type == JSON else unpack(data)
    if not isinstance(value, dict):
        raise MalformedEnvelope("a sealed item is not a dict")
    return value


def _require_readable_names(item: OpenedItem, row: Row) -> None:
    """Refuses items of stores with pseudonymous names: their names would have to change too."""
    if item.opened.inner_type.startswith(NAMED) or row.cells["prefix"] == DICTIONARY[0]:
        raise Unconvertible(
            "the item is stored under pseudonyms, which are made with its key: it would not be found once that is dropped. "
            "Put it anew through EncryptedStore"
        )


# --- JSON ---------------------------------------------------------------------------------------------------------------


def _is_json(value: Any, fits: Callable[[float], bool] | None = None) -> bool:
    """Says whether a value that was taken apart is JSON as it is, with numbers that fit: all of them if nothing is said."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_json(part, fits) for name, part in value.items())
    if isinstance(value, list):
        return all(_is_json(part, fits) for part in value)
    if type(value) in (int, float):
        return fits is None or fits(value)
    return value is None or type(value) in (bool, str)


def _as_json(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except ValueError:  # a lone surrogate
        raise Unconvertible("something in it cannot be expressed in JSON") from None
    return text
