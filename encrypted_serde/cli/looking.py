"""The options of the commands that show plaintext, `show`, `find` and `view`: keys, context, who looks and why."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .exits import fail
from .options import AnchorAt, Contexts, Keys, Plaintext, Text, Unbound, context_of, option

if TYPE_CHECKING:
    from ..view import Refused, View

_NOT_YOURS = ("UnknownKey", "KeyErased", "WrongContext")


class Looking(NamedTuple):
    """What opens a database to look into it, who looks and why."""

    keys: Keys = Keys()
    context: Contexts = None
    anchor: AnchorAt = None
    actor: Annotated[Text, option("NAME", "Who looks. Default: the name of your account.")] = None
    reason: Annotated[Text, option("TEXT", "Why. Required where ENCRYPTED_SERDE_REQUIRE_REASON=1 is set.")] = None
    audit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append a JSON line about every look to this file, first.")
    ] = None
    mask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Hide email,iban,card,phone,token, or what a regular expression matches. May be repeated. No anonymisation.",
        ),
    ] = None
    allow_plaintext: Plaintext = False
    allow_unbound: Unbound = False

    def open(self, database: str) -> View:
        """Opens the database.

        Raises:
            EncryptedSerdeError: If it cannot be opened, there is no key, or a reason is required.
        """
        from ..maintenance.address import parse_address
        from ..view import AuditFile, open_view

        context: Mapping[str, str] | None = context_of(self.context) if self.context else None
        with ExitStack() as stack:
            anchor = None
            if self.anchor is not None:
                from .anchor import open_anchor

                anchor = stack.enter_context(closing(open_anchor(self.anchor)))
            view = open_view(
                database,
                self.keys.provider(),
                context=context,
                actor=self.actor,
                reason=self.reason,
                audit=None if self.audit is None else AuditFile(self.audit, parse_address(database).label),
                mask=_masks(self.mask or []),
                anchor=anchor,
                allow_plaintext=self.allow_plaintext,
                allow_unbound=self.allow_unbound,
            )
            view.close_with(stack.pop_all())
        return view


def _masks(given: list[str]) -> list[str]:
    """Divides ``email,iban``; a regular expression may have commas of its own."""
    from ..view.masking import BUILT_IN

    masks: list[str] = []
    for text in given:
        names = [name.strip() for name in text.split(",")]
        masks += names if set(names) <= set(BUILT_IN) else [text]
    return masks


def require_right_keys(refusals: list[Refused | None]) -> None:
    """Ends the command where nothing at all is for these keys or this context."""
    found = [refused for refused in refusals if refused is not None and refused.error in _NOT_YOURS]
    if found and len(found) == len(refusals):
        fail(f"{found[0]}; nothing is shown")
