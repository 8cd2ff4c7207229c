"""A key of the key service for every tenant, its own perhaps (BYOK): `PerTenantWrapper` chooses by the encryption context.

Format of a wrapped key: ``LP(name of the wrapper) | what that wrapper gave``. The name only tells two errors apart; it is never
what chooses. Somebody who can write to the key store could otherwise name a key of the service that is under their control, and
introduce a data key that they know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..core.bounded import Bounded
from ..core.encoding import lp
from ..errors import ConfigurationError, KeyServiceError
from . import KeyWrapper, authenticates, check_wrapper, refused
from .fence import fenced

_KNOWN = 4096  # names of wrappers that were tried out

Choose = Callable[[Mapping[str, str]], "KeyWrapper | Sequence[KeyWrapper] | None"]
"""Function of an encryption context: returns the wrapper of its owner. Of several, the first one wraps and all unwrap: the
later ones are the tenant's former keys, until `TenantKeyring.rewrap` has moved what they wrap."""


class PerTenantWrapper:
    """A `KeyWrapper` that wraps the data keys of every tenant under a key of the tenant's own. There is no default key.

    A tenant whose key was disabled, or whose grant was revoked, is unreadable within one cache age; no other tenant notices.
    Errors carry the name of the wrapper that was chosen.

    Args:
        choose: Function of the encryption context: returns a `KeyWrapper`, or a sequence of these (see `Choose`). It is called
            each time, so let it keep what it makes. A ``LookupError`` and None mean that this context has no key: nothing is
            wrapped or unwrapped for it.
        trial: Contexts whose wrappers `check_wrapper` tries out when `TenantKeyring` is built, three calls each. Keys that are
            not among them are tried at their first use, by one more call than it takes.

    Raises:
        TypeError: If ``choose`` cannot be called.

    Attributes:
        name: ``per-tenant``.

    Example:
        ```python
        arns = {"acme": "arn:aws:kms:...:key/1", "globex": "arn:aws:kms:...:key/2"}
        wrappers = {tenant: AwsKeyWrapper(arn) for tenant, arn in arns.items()}
        trial = [{"tenant_id": tenant} for tenant in arns]
        wrapper = PerTenantWrapper(lambda context: wrappers[context["tenant_id"]], trial=trial)
        ```
    """

    name = "per-tenant"

    def __init__(self, choose: Choose, *, trial: Iterable[Mapping[str, str]] = ()) -> None:
        if not callable(choose):
            raise TypeError(f"choose is a function of the encryption context, not {type(choose).__name__}")
        self._choose = choose
        self._trial = [dict(context) for context in trial]
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
            # The contract, and the permission to unwrap at all.
            if not authenticates(wrapper, wrapped, {**context, "trial": os.urandom(8).hex()}):
                raise KeyServiceError(
                    f"{wrapper.name}: a data key unwrapped under a wrong context; use a key that authenticates associated data",
                    retryable=False,
                )
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
        several = chosen if isinstance(chosen, Sequence) else [chosen]
        if wrong := [each for each in several if not isinstance(each, KeyWrapper)]:
            raise self._error(f"choose gave {type(wrong[0]).__name__}")
        return [*several]

    def _chosen(self, context: Mapping[str, str]) -> KeyWrapper | Sequence[KeyWrapper] | None:
        try:
            return self._choose(context)
        except LookupError:
            return None

    def _error(self, problem: str) -> KeyServiceError:
        return KeyServiceError(f"{self.name}: {problem}", retryable=False)
