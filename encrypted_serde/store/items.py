"""One item: what is stored of it, and what is made of what was found.

Stored is ``{"es1": sealed text of the whole value, **readable copies, **search tokens}``. The sealed value counts; copies and
tokens only find it. It is bound to its namespace and key. Where names are pseudonyms, the sealed bytes begin
with the names themselves.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, NamedTuple

from langgraph.store.base import Item, PutOp

from ..audit import tell_refused
from ..core import binding
from ..core.context import EncryptionContext
from ..core.format import Sealed, find_sealed, sealed_text
from ..core.sealer import Batch, Sealer
from ..errors import ConfigurationError, EncryptedSerdeError, MalformedEnvelope, WrongLocation
from ..wrapping.admission import Admission
from ..wrapping.json_form import equal_as_json
from ..wrapping.search import field_token
from ..wrapping.stored_item import ABSENT, HANDLES, KEY, MARK, NO_MARK, with_names, without_names
from .embedding import Handle
from .fields import Fields
from .names import Namespace, Place, is_reserved
from .tenancy import Tenancy
from .values import Objects

logger = logging.getLogger(__name__)


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

    def __repr__(self) -> str:  # error reporters show the variables of a frame
        return f"<Found {self.namespace!r} {self.key!r}>"


class Items:
    """Seals and opens items.

    Args:
        sealer: Seals and opens.
        values: How values become bytes, and which are taken.
        admission: What is read that is not sealed.
        fields: What of a value the database can look at.
        tenancy: Knows the keys of tokens and marks.

    Attributes:
        passed_over: How many rows searches left out: of another ``namespace``, returned by mistake; by ``KeyErased``.
    """

    def __init__(self, sealer: Sealer, values: Objects, admission: Admission, fields: Fields, tenancy: Tenancy) -> None:
        self.sealer = sealer
        self.admission = admission
        self.fields = fields
        self.tenancy = tenancy
        self.passed_over: Counter[str] = Counter()
        self._values = values

    # --- writing

    def seal(self, batch: Batch, place: Place, op: PutOp, handles: dict[str, Handle], *, named: bool) -> dict[str, Any]:
        """Makes what is stored of one item.

        Args:
            batch: Seals it.
            place: Where it will be stored.
            op: What the user puts.
            handles: What is indexed of it.
            named: Seal its names with it, since its place does not tell them.
        """
        value = dict(op.value or {})
        inner_type, plaintext = self._values.dumps(value)
        if named:
            inner_type, plaintext = with_names(inner_type, plaintext, op.namespace, op.key)
        stored: dict[str, Any] = {}
        if self.tenancy.has_marks:
            stored[MARK] = NO_MARK if is_reserved(place.namespace) else self.tenancy.mark(batch.context)
        stored[KEY] = sealed_text(batch.seal(inner_type, plaintext, binding.item(*place)))
        if not is_reserved(place.namespace):
            stored |= self._beside(value, batch.context)
        if handles:
            stored[HANDLES] = handles
        return stored

    def _beside(self, value: dict[str, Any], context: EncryptionContext) -> dict[str, Any]:
        """Makes the readable copies and search tokens that are stored beside a value."""
        fields = self.fields
        beside: dict[str, Any] = {}
        for name in fields.readable:
            if (part := fields.get(value, name)) is not ABSENT:
                beside[fields.stored_name(name)] = self._values.normal(part)
        for name in fields.searchable:
            if (part := fields.get(value, name)) is ABSENT:
                continue
            key, part = self.tenancy.keys(context)[0], self._values.normal(part)
            if token := field_token(key, name, context, part, ends_at_nul=fields.have_paths):
                beside[fields.stored_name(name)] = token
        return beside

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
            return self._open(find_item(item), item, place, expected)
        except EncryptedSerdeError as error:
            self.tell(error, place)
            raise

    def open_own(self, item: Item, place: Place, expected: EncryptionContext | None) -> Found | None:
        """Opens what was found at a place, as `open` does; None if it is another tenant's."""
        try:
            sealed = find_item(item)
            if sealed is None or self.tenancy.reads(sealed.head.context, expected):
                return self._open(sealed, item, place, expected)
        except EncryptedSerdeError as error:
            self.tell(error, place)
            raise
        return None

    def pass_over(self, place: Place) -> None:
        """Counts a row of another namespace, which the inner store returned by mistake. Logs the first, audits all."""
        if not self.passed_over["namespace"]:
            logger.warning("the inner store answers a search with rows of other namespaces; they are passed over")
        self.passed_over["namespace"] += 1
        self.tell(WrongLocation("the inner store answered a search with an item of another namespace"), place)

    def tell(self, error: EncryptedSerdeError, place: Place) -> None:
        """Names the row of a refusal, and tells the audit: once for each."""
        error.row = error.row or {"namespace": ".".join(map(str, place.namespace)), "key": str(place.key)}
        tell_refused(self.sealer, error)

    def _open(self, sealed: Sealed | None, item: Item, place: Place, expected: EncryptionContext | None) -> Found:
        if not isinstance(item.value, dict) or not isinstance(place.key, str):
            raise MalformedEnvelope("a row that no store could have written: its value is no object, or its key no text")
        if sealed is None:
            self.admission.admit_plain("item", "an item", is_proven=False)
            return Found(place.namespace, place.key, dict(item.value), sealed=False)
        inner_type, plaintext, _ = self.sealer.open_bound(sealed, _bound_to(place), context=expected)
        inner_type, plaintext, names = without_names(inner_type, plaintext)
        namespace, key = place if names is None else (names[:-1], names[-1])
        value = self._values.loads(inner_type, plaintext)
        del plaintext  # error reporters show the variables of a frame
        if self.fields.readable and (wrong := self._wrong_copy(item.value, value)):
            del value
            raise WrongLocation(f"the readable copy of field {wrong!r} is not that of the sealed item")
        return Found(namespace, key, value, sealed=True)

    def _wrong_copy(self, stored: dict[str, Any], value: dict[str, Any]) -> str | None:
        for name in self.fields.readable:
            if (found := stored.get(self.fields.stored_name(name), ABSENT)) is ABSENT:
                continue
            part = self.fields.get(value, name)
            if part is ABSENT or not equal_as_json(found, part):
                return name
        return None


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
