"""The command ``merclip``: one module for each of its commands.

Nothing here imports torch or numpy before a command has read its arguments,
so that ``--help`` and a misspelt option answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from merclip.cli._arguments import EXIT_STATUS, Parser, did_you_mean, examples
from merclip.cli._console import (
    BROKEN_PIPE,
    WRONG_USE,
    CommandError,
    debugging,
    make_streams_safe,
    report,
    say,
    silence_stdout,
)
from merclip.cli._signals import TERMINATED, stoppable
from merclip.cli._signals import status as status_of_signal

COMMANDS = {
    "predict": "say which emotion each clip or sentence shows",
    "fit": "learn from labelled clips, and save a model",
    "evaluate": "measure a model on labelled clips",
    "reproduce": "measure a table of the paper anew, its numbers beside yours",
    "download": "fetch a model, to use it without a network",
    "info": "show versions, devices and what a model is",
}

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process.

    Returns
    -------
    int
        0: done; 1: a clip cannot be read, a model cannot be had, or another failure; 2: wrong
        use, also a file or folder to work on that is not there; 130: Ctrl-C; 143: SIGTERM.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    make_streams_safe()
    with stoppable():
        return _status(arguments)


def _status(arguments: list[str]) -> int:
    """Run a command, and turn whatever ends it into an exit status."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as leaving:  # argparse, after --help or an error
        return leaving.code if isinstance(leaving.code, int) else WRONG_USE
    except KeyboardInterrupt as stop:
        status = status_of_signal()
        name = "SIGTERM" if status == TERMINATED else "Ctrl-C"
        say("stopped", f"by {name} {stop}".strip())
        return status
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except Exception as error:
        return report(error, debugging(arguments))


def _run(arguments: list[str]) -> int:
    if not arguments:
        _parser().print_help(sys.stderr)
        return WRONG_USE
    name = arguments[0]
    if name in COMMANDS:
        run = importlib.import_module(f"merclip.cli.{name}").run
        return int(run(arguments[1:]))
    if name.startswith("-"):
        _parser().parse_args(arguments)
    raise CommandError(_unknown_command(name))


def _unknown_command(name: str) -> str:
    if os.path.isfile(name):
        return f"a command comes before the file: merclip predict {name}"
    there = f"there are {', '.join(COMMANDS)} (see merclip --help)"
    return f"there is no command {name!r}{did_you_mean(name, COMMANDS)}; {there}"


def _parser() -> Parser:
    from merclip._version import __version__

    listed = "\n".join(f"  {name:<9} {does}" for name, does in COMMANDS.items())
    parser = Parser(
        prog="merclip",
        usage="merclip COMMAND ...",
        description="Emotions of people talking, from video, sound and text, in your own words.",
        epilog=f"commands:\n{listed}\n\n"
        + examples(
            "merclip predict clip.mp4 --labels happy sad angry",
            "merclip predict --help",
        )
        + f"\n\n{EXIT_STATUS}",
    )
    parser.add_argument("--version", action="version", version=f"merclip {__version__}")
    return parser
