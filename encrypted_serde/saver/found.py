"""What an inner saver returned, as the values that `rows` knows, and what opens them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..core.binding import Binding
from ..core.context import EncryptionContext
from ..rows.parts import Opened
from ..rows.stored import NONE, PLAINTEXT, Form, Stored, find_part, find_typed
from ..wrapping.admission import Admitted
from ..wrapping.gate import Foreign, pack_inert
from ..wrapping.serialize import Waiting, loads
from ..wrapping.upstream import DeltaSnapshot
from .wiring import Wiring

_NONE = Waiting.holding(None)
_PLAIN = Form(PLAINTEXT)


class Values(dict[str, Any]):
    """Values by channel, as the gate handed them out. Each is parsed once, when it is asked for: to answer a filter few are."""

    def __getitem__(self, name: str) -> Stored:
        value = super().__getitem__(name)
        if type(value) is not Stored:
            value = self[name] = stored(value)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Returns a value, parsed."""
        return self[name] if name in self else default  # noqa: SIM401  # which would be this function itself

    def values(self) -> Iterable[Stored]:  # type: ignore[override]  # nobody asks for more than to go through them
        """Goes through all values, parsed."""
        return [self[name] for name in self]


class Reader:
    """Opens values as a saver does: the expected context is the caller's.

    Args:
        wiring: The parts of the wrapper.
        context: The expected encryption context; the ambient one when None.
    """

    __slots__ = ("_admission", "_context", "_sealer", "_serde")

    def __init__(self, wiring: Wiring, context: EncryptionContext | None) -> None:
        self._sealer, self._admission, self._serde, self._context = wiring.sealer, wiring.admission, wiring.serde, context

    def open(self, found: Stored, bind: Callable[[bool], Binding], *, is_proven: bool = False) -> Opened:
        """As `rows.verify.Reader` says."""
        form, type_tag, data, sealed, is_delta, error = found
        if sealed is not None and "+" not in type_tag:
            inner_type, data, claims = self._sealer.open_bound(sealed, bind(is_delta), context=self._context)
            return Opened(inner_type, data, form, claims, is_delta)
        if error is not None and "+" not in type_tag:
            raise error
        if form.kind == NONE:
            return Opened("null", b"", form)
        admitted = self._admission.admit(type_tag, data, context=self._context, is_proven=is_proven)
        return Opened(admitted.inner_type, admitted.plaintext, form, is_delta=is_delta, kind=admitted.kind)

    def waiting(self, opened: Opened) -> Waiting:
        """Returns what deserialises a value once all of its row is verified."""
        if opened.kind:
            admitted = Admitted(opened.kind, opened.inner_type, opened.data)
            inner = Waiting(self._admission.loads, self._serde, admitted)
        elif opened.is_none:
            return _NONE
        else:
            inner = Waiting(loads, self._serde, opened.inner_type, opened.data)
        return Waiting(_in_snapshot, inner) if opened.is_delta else inner


def _in_snapshot(value: Waiting) -> DeltaSnapshot:
    return DeltaSnapshot(value())


def stored(value: Any) -> Stored:
    """Finds out how a value is stored that the gate handed out."""
    if value is None or isinstance(value, (bytes, str)):
        return find_part(value)
    if isinstance(value, Foreign):
        return find_typed(value.type_tag, value.data, len(value.data))
    if isinstance(value, DeltaSnapshot):
        return stored(value.value)._replace(is_delta=True)
    try:
        return Stored(_PLAIN, "msgpack", pack_inert(value))
    except (TypeError, ValueError, OverflowError):
        return find_part(value)
