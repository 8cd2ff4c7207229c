"""A parameter of a command may be a group of options: a NamedTuple, whose fields are the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, get_type_hints


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command for Typer, which knows no groups: with the options themselves in place of each group."""
    parameters = inspect.signature(command, eval_str=True).parameters

    @wraps(command)
    def run(**given: Any) -> None:
        command(**{name: _filled(name, each.annotation, given) for name, each in parameters.items()})

    options = [option for each in parameters.values() for option in _options(each)]
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    group = parameter.annotation
    if not _is_group(group):
        yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        return
    for name, hint in get_type_hints(group, include_extras=True).items():
        default = group._field_defaults.get(name, inspect.Parameter.empty)
        yield from _options(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))


def _filled(name: str, hint: Any, given: dict[str, Any]) -> Any:
    if not _is_group(hint):
        return given[name]
    return hint(*[_filled(field, inner, given) for field, inner in get_type_hints(hint, include_extras=True).items()])


def _is_group(hint: Any) -> bool:
    return hasattr(hint, "_field_defaults")
