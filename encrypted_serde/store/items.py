"""One item: what is stored of it, and what is made of what was found.

Stored is ``{"es1": sealed text of the whole value, **readable copies, **search tokens}``. The sealed value counts; copies and
tokens only find it. It is bound to the namespace and key it stands under. Where names are pseudonyms, the sealed bytes begin
with the names they stand for.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import Item, PutOp

from ..audit import tell_refused
from ..core import binding
from ..core.context import EncryptionContext
from ..core.encoding import lps, take_field
from ..core.format import Sealed, find_sealed, sealed_text
from ..core.opaque import opaque
from ..core.sealer import BatchSealing, Sealing
from ..errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, WrongLocation
from ..wrapping import serialize
from ..wrapping.admission import Admission
from ..wrapping.json_form import json_form
from ..wrapping.search import is_searchable, search_token
from ..wrapping.stored_item import HANDLES, KEY, NAMED
from .embedding import Indexed
from .names import Namespace, Place
from .tenancy import Tenancy

_LABELS = 2  # bytes that count the labels


class Fields(NamedTuple):
    """Which fields of a value the database can look at.

    Attributes:
        searchable: It sees a token of these.
        readable: It sees a copy of these.
    """

    searchable: frozenset[str]
    readable: frozenset[str]


class Found(NamedTuple):
    """What an item turned out to be.

    Attributes:
        namespace: As the user gave it.
        key: As the user gave it.
        value: The value.
        sealed: Whether it was sealed; otherwise a switch admitted it.
    """

    namespace: Namespace
    key: str
    value: dict[str, Any]
    sealed: bool

    def __repr__(self) -> str:
        return opaque(self)


class Items:
    """Seals and opens items.

    Args:
        sealer: Seals and opens.
        serde: How values become bytes.
        admission: What is read that is not sealed.
        fields: What of a value the database can look at.
        tenancy: Gives the keys of tokens.
    """

    def __init__(
        self,
        sealer: Sealing,
        serde: SerializerProtocol,
        admission: Admission,
        fields: Fields,
        tenancy: Tenancy,
    ) -> None:
        self.sealer = sealer
        self.admission = admission
        self.fields = fields
        self.tenancy = tenancy
        self._serde = serde

    # --- writing

    def seal(self, batch: BatchSealing, place: Place, op: PutOp, indexed: Indexed, *, named: bool) -> dict[str, Any]:
        """Makes what is stored of one item.

        Args:
            batch: Seals it.
            place: Where it will stand.
            op: What the user puts.
            indexed: What is indexed of it.
            named: Seal its names with it, since its place does not tell them.
        """
        value = dict(op.value or {})
        inner_type, plaintext = serialize.dumps_as_json_would(self._serde, value, "the value of an item")
        if named:
            inner_type = NAMED + inner_type
            labels = len(op.namespace).to_bytes(_LABELS, "big")
            plaintext = b"".join((labels, lps(op.namespace), lps((str(op.key),)), plaintext))
        stored: dict[str, Any] = {KEY: sealed_text(batch.seal(inner_type, plaintext, binding.item(*place)))}
        for name in self.fields.readable & value.keys():
            stored[name] = copy.deepcopy(value[name])
        for name in self.fields.searchable & value.keys():
            if is_searchable(value[name]):
                stored[name] = self._token(name, value[name], batch.context)
        if indexed.handles:
            stored[HANDLES] = indexed.handles
        return stored

    def _token(self, name: str, value: Any, context: EncryptionContext) -> str:
        return search_token(self.tenancy.keys(context)[0], name, context, value)

    # --- reading

    def open(self, item: Item, place: Place, expected: EncryptionContext | None) -> Found:
        """Opens what was found at a place.

        Raises:
            PlaintextRefused: If it was never sealed, and the switch for that is off.
            AuthenticationFailed: If it was changed, or belongs to another place.
            WrongContext: If it is another tenant's.
            WrongLocation: If a readable copy is not that of the sealed value.
            EncryptedSerdeError: As `Sealer.open_bound` raises it.
        """
        try:
            sealed = find_item(item)
            if not isinstance(item.value, dict) or not isinstance(place.key, str):
                raise MalformedEnvelope("a row that no store could have written: its value is no object, or its key no text")
            if sealed is None:
                self.admission.admit_plain("item", "an item", is_proven=False)
                return Found(place.namespace, place.key, dict(item.value), sealed=False)
            return self._open(sealed, item, place, expected)
        except EncryptedSerdeError as error:
            error.row = error.row or {"namespace": ".".join(place.namespace), "key": place.key}
            tell_refused(self.sealer, error)
            raise

    def _open(self, sealed: Sealed, item: Item, place: Place, expected: EncryptionContext | None) -> Found:
        inner_type, plaintext, _ = self.sealer.open_bound(sealed, _bound_to(place), context=expected)
        namespace, key = place
        if inner_type.startswith(NAMED):
            inner_type = inner_type[len(NAMED) :]
            namespace, key, plaintext = _split_names(plaintext)
        value = serialize.loads(self._serde, inner_type, plaintext)
        del plaintext  # error reporters show the variables of a frame
        if not isinstance(value, dict):
            raise MalformedEnvelope("a sealed item is not a dict")
        for name in self.fields.readable and self.fields.readable & item.value.keys():
            if name not in value or json_form(item.value[name]) != json_form(value[name]):
                del value
                raise WrongLocation(f"the readable copy of field {name!r} is not that of the sealed item")
        return Found(namespace, key, value, sealed=True)


def _bound_to(place: Place) -> binding.Binding:
    try:
        return binding.item(*place)
    except ConfigurationError as error:  # which is a ValueError: not for what somebody wrote into a row
        raise MalformedEnvelope(f"a row under names that no item can have: {error}") from None


def find_item(item: Item) -> Sealed | None:
    """Finds what is sealed in a stored item; None if nothing is.

    Raises:
        EncryptedSerdeError: As `find_sealed` raises it.
    """
    stored = item.value
    return find_sealed(stored.get(KEY)) if isinstance(stored, dict) else None


def _split_names(plaintext: bytes) -> tuple[Namespace, str, bytes]:
    labels: list[str] = []
    position = _LABELS
    for _ in range(int.from_bytes(plaintext[:_LABELS], "big") + 1):
        field, position = take_field(plaintext, position)
        labels.append(field.decode("utf-8"))
    return tuple(labels[:-1]), labels[-1], plaintext[position:]
