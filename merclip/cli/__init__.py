"""The command ``merclip``: one module for each of its commands.

Nothing here imports torch or numpy before a command has read its arguments,
so that ``--help`` and a misspelt option answer at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from merclip.cli._arguments import Parser, examples
from merclip.cli._console import (
    BROKEN_PIPE,
    INTERRUPTED,
    WRONG_USE,
    CommandError,
    debugging,
    make_streams_safe,
    report,
    silence_stdout,
)

COMMANDS = {
    "predict": "say which emotion each clip or sentence shows",
    "fit": "learn from labelled clips, and save a model",
    "evaluate": "measure a model on labelled clips",
    "reproduce": "measure a table of the paper anew, its numbers beside yours",
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
        0: done; 1: an input failed; 2: wrong use; 130: interrupted.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    make_streams_safe()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as leaving:  # argparse, after --help or an error
        return leaving.code if isinstance(leaving.code, int) else WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
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
    return f"there is no command {name!r}; there are {', '.join(COMMANDS)} (see merclip --help)"


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
        ),
    )
    parser.add_argument("--version", action="version", version=f"merclip {__version__}")
    return parser
