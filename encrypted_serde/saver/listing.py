"""Listing the rows of an inner saver, verified: page by page, with one filter or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ..core.context import EncryptionContext, current
from ..core.keys import Key, Keyring, SearchKeyProvider
from ..core.opaque import opaque
from ..errors import KeyErased, WrongLocation
from ..wrapping.offload import is_heavy
from ..wrapping.steps import Give, Steps, Work
from .filters import Plan, plan
from .open import RowOpener
from .steps import LARGEST_PAGE, Call, Merged, More, Paged, Rows, Stream, list_call
from .wiring import Wiring


class Asked(NamedTuple):
    """What the caller of ``list`` wants.

    Attributes:
        config: What to ask the inner saver with.
        context: The expected encryption context.
        wanted: The filter.
        before: Only checkpoints before this one.
        limit: At most so many.
    """

    config: RunnableConfig | None
    context: EncryptionContext | None
    wanted: dict[str, Any] | None
    before: RunnableConfig | None
    limit: int | None

    def __repr__(self) -> str:
        return opaque(self)


class Lister:
    """Answers ``list`` and ``alist``.

    Args:
        wiring: The parts of the wrapper.
        opener: Verifies and opens what the inner saver returns.
    """

    passes_over_erased = True
    """Whether rows under destroyed keys are passed over: a tenant that starts anew is not blocked by its old rows."""

    def __init__(self, wiring: Wiring, opener: RowOpener) -> None:
        self._wiring = wiring
        self._opener = opener

    def steps(self, asked: Asked) -> Steps[None]:
        """Returns the verified rows that match, newest first or in the inner saver's order.

        Raises:
            EncryptedSerdeError: As `RowOpener.checkpoint` raises it.
        """
        query = yield Work(partial(self._plan, asked), self._wiring.sealer.may_block)
        yield from self._answers(asked, query, self._rows(asked, query).more)

    def _answers(self, asked: Asked, query: Plan, more: Callable[[], More]) -> Steps[bool]:
        """Returns the rows that match until so many are there as were asked for, and says whether these are all."""
        left = None if is_odd(asked.limit) else asked.limit
        while left != 0 and (page := (yield from more())) is not None:
            for found in page:
                answer = yield from self._row(asked, query, found)
                if answer is not None:
                    yield Give(answer)
                    left = None if left is None else left - 1
                    if left == 0:
                        break
        return left != 0

    def _row(self, asked: Asked, query: Plan, listed: CheckpointTuple) -> Row:
        """Opens a row where that holds nobody up; None if it is none of the answers."""
        found: CheckpointTuple | None = listed
        if self._wiring.traits.lists_stubs:
            found = yield Call(self._wiring.gated, "get_tuple", (listed.config,), asked.context)
        if found is None:
            return None
        heavy = self._wiring.sealer.may_block or partial(is_heavy, found)
        opened: CheckpointTuple | None = yield Work(partial(self._answer, asked, query, found), heavy)
        return opened

    def _answer(self, asked: Asked, query: Plan, found: CheckpointTuple) -> CheckpointTuple | None:
        """Opens a row; None if it does not match, or is passed over."""
        try:
            return self._opened(asked, query, found)
        except KeyErased:
            if not self.passes_over_erased:
                raise
        self._wiring.admission.passed_over[KeyErased.__name__] += 1
        return None

    def _opened(self, asked: Asked, query: Plan, found: CheckpointTuple) -> CheckpointTuple | None:
        matches = self._wiring.traits.filters.matches
        if _passes_over_others(asked):
            own = self._opener.own(found, asked.context)
            if own is None:
                return None
            found = own
        self._opener.check_identity(asked.config, found, is_listed=True)
        opened = self._opener.row(found, asked.context, (lambda given: matches(given, query.rest)) if query.rest else None)
        if opened is None:
            return None
        if asked.wanted and not matches(cast("Mapping[str, Any]", opened.checkpoint.metadata), asked.wanted):
            del opened  # error reporters show the variables of a frame
            raise WrongLocation("the database answered a filter with a row that does not match it")
        return opened.checkpoint

    def _plan(self, asked: Asked) -> Plan:
        wiring = self._wiring
        context = current.get() if asked.context is None else asked.context
        provider, keys = wiring.sealer.keys, list[tuple[Key, EncryptionContext]]()
        # Rows in plaintext have no tokens, and without a context no token can be computed that would find all.
        has_tokens = wiring.searchable_keys and not wiring.admission
        if has_tokens and context is not None and isinstance(provider, SearchKeyProvider):
            keys = [(key, context) for key in provider.search_keys(context.pairs)]
        if len(keys) > 1 and not wiring.traits.newest_first:
            keys = []
        return plan(asked.wanted, wiring.readable_keys, wiring.searchable_keys, keys, wiring.traits.filters)

    def _rows(self, asked: Asked, query: Plan) -> Rows:
        traits = self._wiring.traits
        if is_odd(asked.limit):
            return Stream(self._call(asked, query.pushed[0]))
        may_pass = query.rest or _passes_over_others(asked) or not isinstance(self._wiring.sealer.keys, Keyring)
        if may_pass:
            asked = asked._replace(limit=None)
        calls = [self._call(asked, pushed) for pushed in query.pushed]
        if len(calls) > 1 or traits.lists_stubs:  # nothing else is asked of a saver while it is listing
            return Merged(*calls)
        if not traits.newest_first:
            return Stream(*calls)
        is_one_page = _names_no_id(asked.before) or (asked.limit is not None and asked.limit <= LARGEST_PAGE)
        return Merged(*calls) if is_one_page else Paged(*calls)

    def _call(self, asked: Asked, pushed: dict[str, Any]) -> Call:
        wanted = {"filter": pushed or None, "before": asked.before, "limit": asked.limit}
        return list_call(self._wiring.gated, asked.config, asked.context, **wanted)


def is_odd(limit: int | None) -> bool:
    """Says whether a limit is none. What is listed then is the inner saver's to say."""
    return limit is not None and limit < 0


def _names_no_id(before: RunnableConfig | None) -> bool:
    """Says whether ``before`` names no checkpoint. What is listed then is the inner saver's to say."""
    return before is not None and not before.get("configurable", {}).get("checkpoint_id")


def _passes_over_others(asked: Asked) -> bool:
    """Says whether a list comes to the threads of other tenants, and passes over them. In one thread it refuses their rows."""
    if asked.context is None and current.get() is None:
        return False
    return asked.config is None or asked.config.get("configurable", {}).get("thread_id") is None


Row = Steps[CheckpointTuple | None]
"""Steps that come to a row, or to none."""
