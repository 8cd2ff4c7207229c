"""The fence around what other people wrote: whatever a key service's client or a store raises is a `KeyServiceError`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from ..errors import AuthenticationFailed, KeyServiceError

if TYPE_CHECKING:
    from . import KeyWrapper

T = TypeVar("T")

MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What code raises for what it was given, and will raise again. Everything else may be the network, and pass."""


def fenced(what: str, call: Callable[[], T]) -> T:
    """Calls something that is not ours.

    Args:
        what: What it is, for the message: a service and its key, or a store.
        call: What to call.

    Raises:
        AuthenticationFailed: As it raised it.
        KeyServiceError: As it raised it, or in place of whatever else it raised, of which only the class is told.
    """
    try:
        return call()
    except (AuthenticationFailed, KeyServiceError):
        raise
    except Exception as error:  # noqa: BLE001  # there is no list of what clients and drivers raise
        name, retryable = type(error).__name__, not isinstance(error, MISTAKES)
        if name == "UndefinedTable":
            raise KeyServiceError(f"{what} has no table: call setup() of the store once", retryable=False) from None
    advice = "a retry may help" if retryable else "a retry cannot help"
    raise KeyServiceError(f"{what} failed ({name}); {advice}", retryable=retryable)


class FencedWrapper:
    """A `KeyWrapper` behind the fence.

    Args:
        wrapper: The wrapper.

    Attributes:
        name: The wrapper's.
    """

    def __init__(self, wrapper: KeyWrapper) -> None:
        self.name = wrapper.name
        self._wrapper = wrapper

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key. What the wrapper returns must be bytes."""
        return self._bytes("wrap", lambda: self._wrapper.wrap(secret, context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts a data key. What the wrapper returns must be bytes."""
        return self._bytes("unwrap", lambda: self._wrapper.unwrap(wrapped, context))

    def _bytes(self, action: str, call: Callable[[], bytes]) -> bytes:
        result = fenced(f"{self.name}: to {action} a data key", call)
        if not isinstance(result, bytes):
            raise KeyServiceError(f"{self.name}: could not {action} a data key (it returned no bytes)", retryable=False)
        return result
