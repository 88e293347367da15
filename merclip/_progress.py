"""How far a long run is: a bar, or now and then a line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

SECONDS = 30.0
"""Between two lines of the log; a run that is shorter says nothing."""

logger = logging.getLogger("merclip")


def progress(
    items: Iterable[T],
    what: str,
    total: int | None = None,
    *,
    bar: bool,
    unit: str = "it",
    failed: Callable[[T], bool] | None = None,
    **options: Any,
) -> Iterator[T]:
    """Yield items, and show how many of them there were.

    Parameters
    ----------
    items : iterable
    what : str
        What is done, such as "encode".
    total : int, optional
    bar : bool
        Draw a bar on stderr. Without it the logger "merclip" gets a line of level INFO
        every 30 seconds.
    unit : str
        What one item is.
    failed : callable, optional
        Tells of an item whether it could not be used; the bar and the lines count those.
    **options
        For the bar: `tqdm.tqdm`.
    """
    from tqdm.auto import tqdm

    lines = None if bar else _Lines(what, total, unit)
    n_failed = 0
    with tqdm(items, what, total, disable=not bar, unit=unit, **options) as shown:
        for n_done, item in enumerate(shown, start=1):
            if failed is not None and failed(item):
                n_failed += 1
                shown.set_postfix(failed=n_failed)
            if lines is not None:
                lines.say(n_done, n_failed)
            yield item


class _Lines:
    """Lines of the log, none sooner than `SECONDS` after the last."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self.what, self.total = what, total
        self.unit = "" if unit == "it" else f" {unit}s"
        self.begin = self.last = time.monotonic()

    def say(self, n_done: int, n_failed: int) -> None:
        """Log a line if it is time."""
        now = time.monotonic()
        if now - self.last < SECONDS or n_done == self.total:
            return
        self.last = now
        of = "" if self.total is None else f" of {self.total}"
        parts = [f"{n_done}{of}{self.unit}"]
        if n_failed:
            parts.append(f"{n_failed} failed")
        if self.total is not None:
            parts.append(f"{_span((self.total - n_done) * (now - self.begin) / n_done)} left")
        logger.info("%s: %s", self.what, ", ".join(parts))


def _span(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
