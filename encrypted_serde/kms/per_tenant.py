"""A key of the key service for every tenant, its own perhaps (BYOK): `PerTenantWrapper` chooses by the encryption context.

Format of a wrapped key: ``LP(name of the wrapper) | what that wrapper gave``. The name only tells two errors apart; it is never
what chooses. Somebody who can write to the key store could otherwise name a key of the service that is under their control, and
introduce a data key that they know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from ..core.bounded import Bounded
from ..core.encoding import lp
from ..errors import AuthenticationFailed, ConfigurationError, KeyServiceError
from . import KeyWrapper, check_wrapper, refused
from .fence import fenced

_KNOWN = 4096  # wrappers that are kept for key ids; ids may come from contexts, and contexts from outside

Choice: TypeAlias = "KeyWrapper | str"
Choose = Callable[[Mapping[str, str]], "Choice | Sequence[Choice] | None"]
"""Function of an encryption context: gives the wrapper or key id of its owner. Of several, the first one wraps and all unwrap:
the later ones are the tenant's former keys, until `TenantKeyring.rewrap` has moved what they wrap."""


class PerTenantWrapper:
    """A `KeyWrapper` that wraps the data keys of every tenant under a key of the tenant's own. There is no default key.

    A tenant whose key was disabled, or whose grant was revoked, is unreadable within one cache age; no other tenant notices.
    Errors carry the name of the wrapper that was chosen.

    Args:
        choose: Function of the encryption context: gives a `KeyWrapper`, a key id, or a sequence of these (see `Choose`).
            A ``LookupError`` and None mean that this context has no key: nothing is wrapped or unwrapped for it.
        make: Makes the wrapper for a key id, e.g. ``lambda key_id: AwsKeyWrapper(key_id, client=client)``. Called once for
            an id, and again once 4096 others were. Without it ``choose`` gives wrappers.
        trial: Contexts whose wrappers `check_wrapper` tries out when `TenantKeyring` is built, three calls each. Keys that are
            not among them are tried at their first use, by one more call than it takes.

    Raises:
        TypeError: If ``choose`` or ``make`` cannot be called.

    Attributes:
        name: ``per-tenant``.

    Example:
        ```python
        arns = {"acme": "arn:aws:kms:...:key/1", "globex": "arn:aws:kms:...:key/2"}
        wrapper = PerTenantWrapper(
            lambda context: arns[context["tenant_id"]], make=AwsKeyWrapper, trial=[{"tenant_id": tenant} for tenant in arns]
        )
        ```
    """

    name = "per-tenant"

    def __init__(
        self, choose: Choose, *, make: Callable[[str], KeyWrapper] | None = None, trial: Iterable[Mapping[str, str]] = ()
    ) -> None:
        if not callable(choose):
            raise TypeError(f"choose is a function of the encryption context, not {type(choose).__name__}")
        if make is not None and not callable(make):
            raise TypeError(f"make is a function of a key id, not {type(make).__name__}")
        self._choose = choose
        self._make = make
        self._trial = [dict(context) for context in trial]
        self._made: Bounded[str, KeyWrapper] = Bounded(_KNOWN)
        self._tried: Bounded[str, None] = Bounded(_KNOWN)

    def check(self) -> None:
        """Tries out the wrappers of the trial contexts. `check_wrapper` calls this instead of a trial of its own.

        Raises:
            ConfigurationError: If a trial context has no key, or its key breaks the contract.
            KeyServiceError: If a key service does not do what it is asked.
        """
        for context in self._trial:
            try:
                wrappers = self._wrappers(context)
            except KeyServiceError as error:
                raise ConfigurationError(f"a trial context cannot be used: {error}") from error
            for wrapper in wrappers:
                if wrapper.name not in self._tried:
                    check_wrapper(wrapper)
                    self._tried[wrapper.name] = None

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Encrypts a data key under the tenant's key.

        Raises:
            KeyServiceError: If the context has no key, its service did not do it, or its key does not authenticate the context.
        """
        wrapper = self._wrappers(context)[0]
        wrapped = wrapper.wrap(secret, context)
        if wrapper.name not in self._tried:
            _try_out(wrapper, wrapped, context)
            self._tried[wrapper.name] = None
        return lp(wrapper.name.encode()) + wrapped

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypts what `wrap` gave, for the same context, under the tenant's key or one of its former ones.

        Raises:
            AuthenticationFailed: If it was changed, or was wrapped for another context.
            KeyServiceError: If the context has no such key, or its service did not do it.
        """
        length = int.from_bytes(wrapped[:2], "big")
        name, inner = wrapped[2 : 2 + length], wrapped[2 + length :]
        if not inner or len(name) != length:
            raise refused(self.name)
        wrappers = self._wrappers(context)
        for wrapper in wrappers:
            if wrapper.name.encode() == name:
                return wrapper.unwrap(inner, context)
        raise self._error(
            f"a data key is wrapped by {name.decode('utf-8', 'replace')!r}, and choose gave {wrappers[0].name}; let it give "
            "the former key too, after the new one, until the keys were rewrapped"
        )

    def _wrappers(self, context: Mapping[str, str]) -> list[KeyWrapper]:
        chosen = fenced(f"{self.name}: choose", lambda: self._chosen(context))
        if chosen is None or (isinstance(chosen, Sequence) and not chosen):
            names = ", ".join(sorted(context)) or "none"
            raise self._error(f"there is no key for this context (its names: {names})")
        several = chosen if isinstance(chosen, Sequence) and not isinstance(chosen, str) else [chosen]
        return [self._wrapper(choice) for choice in several]

    def _chosen(self, context: Mapping[str, str]) -> Choice | Sequence[Choice] | None:
        try:
            return self._choose(context)
        except LookupError:
            return None

    def _wrapper(self, choice: object) -> KeyWrapper:
        if isinstance(choice, str) and self._make is not None:
            if (wrapper := self._made.get(choice)) is None:
                wrapper = self._made[choice] = fenced(f"{self.name}: make", partial(self._made_for, self._make, choice))
            return wrapper
        if isinstance(choice, KeyWrapper):
            return choice
        problem = "a key id, and there is no make= for it" if isinstance(choice, str) else type(choice).__name__
        raise self._error(f"choose gave {problem}")

    def _made_for(self, make: Callable[[str], KeyWrapper], key_id: str) -> KeyWrapper:
        try:
            return make(key_id)
        except ConfigurationError as error:
            raise self._error(str(error)) from error

    def _error(self, problem: str) -> KeyServiceError:
        return KeyServiceError(f"{self.name}: {problem}", retryable=False)


def _try_out(wrapper: KeyWrapper, wrapped: bytes, context: Mapping[str, str]) -> None:
    """Tries what was wrapped just now under a wrong context: the contract, and the permission to unwrap at all."""
    try:
        wrapper.unwrap(wrapped, {**context, "trial": os.urandom(8).hex()})
    except AuthenticationFailed:
        return
    raise KeyServiceError(
        f"{wrapper.name}: a data key unwrapped under a wrong context; use a key that authenticates associated data",
        retryable=False,
    )
