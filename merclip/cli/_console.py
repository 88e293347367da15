"""What goes to stderr: one short line for each thing, and never a traceback unasked."""

from __future__ import annotations

import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

DONE, FAILED, WRONG_USE, BROKEN_PIPE = 0, 1, 2, 141
DEBUG_VARIABLE = "MERCLIP_DEBUG"
_LONGEST = 600
_OPTIONS = (
    "anchors backend batch_size delimiter device dtype encoding epochs face folds frames labels lr "
    "model multi_label on_error predict_from pretrained prompt revision threshold train_dtype tune "
    "validation"
)
_PARAMETER = re.compile(
    rf"(?<![\w/-])({'|'.join(_OPTIONS.split())})=(?:'([^']*)'|\"([^\"]*)\"|True\b|(?![\w\[{{(]))"
)
_TEXT_IN_PYTHON = 'did you mean text=? fit takes [{"text": ...}, ...] or df[["text"]].'
_FAILURES = (
    *("DecodeError", "MediaNotFoundError", "MediaTypeError", "MissingStreamError"),
    *("CheckpointError", "MissingExtraError", "ModelNotFoundError"),
)
"""Errors of ours that are not about how a command was given."""


class CommandError(Exception):
    """A message for the user, and the exit status that goes with it."""

    def __init__(self, message: str, status: int = WRONG_USE) -> None:
        super().__init__(message)
        self.status = status


def say(kind: str, message: object) -> None:
    """Print one line to stderr, with options for parameters, beside a bar if there is one."""
    with beside_bar():
        line = one_line(in_shell(str(message)))
        print(f"merclip: {kind}: {line}", file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """Return text without line breaks and control characters, and not endless."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 1] + "…"


def in_shell(message: str) -> str:
    """Return a message of the library with options in place of Python's parameters.

    Examples
    --------
    >>> in_shell("set predict_from='both', or multi_label=True; it needs labels=.")
    'set --predict-from both, or --multi-label; it needs --labels.'
    """
    return _PARAMETER.sub(_option, message.replace(_TEXT_IN_PYTHON, "did you mean --text?"))


def _option(parameter: re.Match[str]) -> str:
    name, *values = parameter.groups()
    given = [shlex.quote(value) for value in values if value]
    return " ".join([f"--{name.replace('_', '-')}", *given])


@contextmanager
def beside_bar() -> Iterator[None]:
    """Take a progress bar away while something else is written to the terminal."""
    module = sys.modules.get("tqdm")
    if module is None:
        yield
        return
    with module.tqdm.external_write_mode(file=sys.stderr):
        yield


def on_terminal() -> bool:
    """Return whether somebody watches stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def debugging(arguments: Sequence[str]) -> bool:
    """Return whether tracebacks and other packages' warnings are wanted."""
    return "--debug" in arguments or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0")


@contextmanager
def short_messages(debug: bool) -> Iterator[None]:
    """Show warnings and log records as one line each, without Python's file names."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The Hub's logger prints its records itself, and hands them on as well.
            if not record.name.startswith("huggingface_hub"):
                say(record.levelname.lower(), record.getMessage())

    seen: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        ours = category.__module__ == "merclip.errors"
        if (ours or debug) and str(message) not in seen:
            seen.add(str(message))
            say("warning", message)

    root, logger, handler = logging.getLogger(), logging.getLogger("merclip"), Lines()
    level = logger.level
    root.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield
    finally:
        root.removeHandler(handler)
        logger.setLevel(level)


def report(error: Exception, debug: bool) -> int:
    """Tell the user of an error in one line, and return the exit status."""
    if debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, CommandError):
        say("error", error)
        return error.status
    if not _is_ours(error):
        text = f"{type(error).__name__}: {error}"
        say("error", f"{text} ({DEBUG_VARIABLE}=1 shows where)" if not debug else text)
        return FAILED
    say("error", error)
    return status_of(error)


def status_of(error: Exception) -> int:
    """Return the exit status that goes with an error of the library."""
    return FAILED if type(error).__name__ in _FAILURES else WRONG_USE


def make_streams_safe() -> None:
    """Let names that the terminal cannot show be printed as escapes; closed streams swallow."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # as after >&-
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Send what is still buffered nowhere, when nobody reads stdout any more."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _is_ours(error: Exception) -> bool:
    # Importing the errors would load scikit-learn; if they are not loaded, it is not one.
    errors = sys.modules.get("merclip.errors")
    return errors is not None and isinstance(error, errors.MerclipError)
