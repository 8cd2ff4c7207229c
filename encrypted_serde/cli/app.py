"""The ``encrypted-serde`` command: puts the modules of commands together.

Nothing here imports LangGraph or a database: the commands that need them do, when they are called.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from .. import __version__
from .anchor import anchor
from .erasure import prove_erased
from .exits import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_USAGE, redacted
from .expanded import expanded
from .expire import expire
from .inspect import inspect
from .keys import key_id, keygen
from .reencrypt import reencrypt
from .scan import scan
from .show import find, show
from .verify import verify
from .view import view

_UsageError: Any = typer.BadParameter.__base__

_COMMANDS = (keygen, key_id, inspect, show, find, view, scan, verify, reencrypt, expire, prove_erased)


def make_app() -> typer.Typer:
    """Makes the command with all its parts."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,  # importing what draws boxes takes longer than everything else
        context_settings={"help_option_names": ["-h", "--help"]},
        # A traceback that shows local variables would show key texts.
        pretty_exceptions_enable=False,
        help="Keys, a look at sealed values, and the databases that hold them.",
        epilog="Exit codes: 0 done, 1 error (the message says why), 2 wrong usage, 3 something is left or was found, or "
        "nothing was there, 130 interrupted.",
    )
    app.callback()(_root)
    for command in _COMMANDS:
        app.command()(expanded(command))
    app.add_typer(anchor(), name="anchor")
    return app


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command and exits. What is printed of wrong usage shows nothing of a URL: it may hold a password."""
    if sys.stdout is None:  # it was closed: what is printed is lost, and the work is done
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # for as long as the process runs
    command = typer.main.get_command(make_app())
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = command.main([*arguments], prog_name="encrypted-serde", standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        told = redacted(error.format_message())
        if told.startswith("Usage:"):  # the whole help, where no command is named
            print(told, file=sys.stderr)
        else:
            usage = "" if error.ctx is None else f"{error.ctx.get_usage()}\nTry: {error.ctx.command_path} --help\n"
            print(f"{usage}encrypted-serde: {told}", file=sys.stderr)
        code = EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("encrypted-serde: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except Exception as error:  # of a module of --keys, or a fault of ours: its text may hold a secret
        if sys.flags.dev_mode:
            raise
        code = _refused(error)
    sys.exit(code if isinstance(code, int) else 0)


def _refused(error: Exception) -> int:
    if isinstance(error, OSError) and error.filename is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer cannot be written either
        print(f"encrypted-serde: the output cannot be written: {error.strerror}", file=sys.stderr)
    else:
        [*_, last] = traceback.extract_tb(error.__traceback__)
        where = f"{Path(last.filename).name}, line {last.lineno}"
        print(f"encrypted-serde: {type(error).__name__} in {where} (python -X dev shows the traceback)", file=sys.stderr)
    return EXIT_REFUSED


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
    """Keys, a look at sealed values, and the databases that hold them."""
