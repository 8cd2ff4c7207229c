"""The ``encrypted-serde`` command: puts the modules of commands together, and says how every command fails.

Nothing here imports LangGraph or a database: the commands that need them do, when they are called.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from ..errors import EncryptedSerdeError

EXIT_REFUSED = 1
"""Exit code where the input was understood and refused, or a service, a database or a file failed."""

EXIT_USAGE = 2
"""Exit code of wrong usage."""

EXIT_FOUND = 3
"""Exit code where a command did its work, and what it found, or did not find, is what it was asked to tell of."""

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_UsageError: Any = typer.BadParameter.__base__
_SECRET = re.compile(r"\S*(?:://|@|passw|pwd)[\s\S]*", re.IGNORECASE)


def redacted(text: str) -> str:
    """Cuts a text where a URL or a password may begin: nobody can say where it ends."""
    return _SECRET.sub("(not shown)", text)


def fail(message: str) -> NoReturn:
    """Prints a message to standard error and exits with `EXIT_REFUSED`."""
    print(f"encrypted-serde: {message}", file=sys.stderr)
    raise typer.Exit(EXIT_REFUSED)


@contextmanager
def failures() -> Iterator[None]:
    """Turns the errors of this package and of files into one line on standard error and an exit code."""
    try:
        yield
    except EncryptedSerdeError as error:
        fail(f"{type(error).__name__}: {error}")
    except OSError as error:
        fail(f"{redacted(str(error.filename))}: {error.strerror}")


def make_app() -> typer.Typer:
    """Makes the command with all its parts."""
    from . import anchor, database, erasure, inspect, keys

    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,  # importing what draws boxes takes longer than everything else
        context_settings={"help_option_names": ["-h", "--help"]},
        # A traceback that shows local variables would show key texts.
        pretty_exceptions_enable=False,
        help="Keys, a look at sealed values, and the databases they stand in.",
        epilog="Exit codes: 0 done, 1 refused (the message says why), 2 wrong usage, 3 something is left or was found, or "
        "nothing was there, 130 interrupted.",
    )
    app.callback()(_root)
    for module in (keys, inspect, database, anchor, erasure):
        module.register(app)
    return app


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and exits. What is printed of wrong usage shows nothing of a URL: it may hold a password."""
    command = typer.main.get_command(make_app())
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = command.main([*arguments], prog_name="encrypted-serde", standalone_mode=False)
    except _UsageError as error:
        if error.ctx is not None and error.message:
            print(error.ctx.get_usage(), file=sys.stderr)
        print(f"encrypted-serde: {redacted(error.format_message())}", file=sys.stderr)
        code = EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        from ..core.format import VERSION

        print(f"encrypted-serde {__version__}, format {VERSION}")
        raise typer.Exit


def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keys, a look at sealed values, and the databases they stand in."""
