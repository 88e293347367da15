"""SIGTERM ends a command as Ctrl-C does, and neither cuts a line in two."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM came: a batch system wants its machine back."""


class _Signals:
    """What came, and whether it has to wait."""

    def __init__(self) -> None:
        self.came: type[KeyboardInterrupt] | None = None
        self.waits = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise what a signal stands for, or leave it to the end of `whole`."""
        first = self.came is None
        self.came = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        # A second one does not wait: what is written may never be read.
        if not (self.waits and first):
            raise self.came


_signals = _Signals()


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, and SIGINT `KeyboardInterrupt`."""
    _signals.came = None
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    changed = {}
    # Whoever ignores a signal, as nohup does, or has a handler, means it.
    with contextlib.suppress(ValueError):  # only the main thread may
        for number, handler in usual.items():
            if signal.getsignal(number) == handler:
                changed[number] = signal.signal(number, _signals.handle)
    try:
        yield
    finally:
        for number, before in changed.items():
            signal.signal(number, before)


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Let signals wait until something is written whole."""
    _signals.waits = True
    try:
        yield
    finally:
        _signals.waits = False
    if _signals.came is not None:
        raise _signals.came


def status() -> int:
    """Return the exit status of a command that a signal has ended."""
    return TERMINATED if _signals.came is Terminated else INTERRUPTED
