"""Work done in threads before it is asked for: in order, and never too far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def working(n_threads: int) -> Iterator[ThreadPoolExecutor | None]:
    """Have threads for a while; none for ``n_threads=0``.

    At the end, or at an error, work that has not begun is dropped, that which has is
    waited for, and the threads are gone.
    """
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="merclip") if n_threads else None
    try:
        yield pool
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def map_ahead(
    pool: ThreadPoolExecutor | None,
    work: Callable[[T], R],
    items: Iterable[T],
    *,
    ahead: int,
    here: Callable[[T], bool] = lambda item: False,
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield each item, in order, with what returns or raises the outcome of `work`.

    Items are taken by the caller's thread.

    Parameters
    ----------
    pool : ThreadPoolExecutor or None
        None does work in the caller's thread, when an outcome is asked for.
    work : callable
    items : iterable
        Whatever it raises is raised after the outcomes of the items before.
    ahead : int
        Items that are taken beyond those that were yielded. With 0 an iterable that waits
        for its next item holds up nothing that was there before.
    here : callable, optional
        Whether an item is for the caller's thread, when its outcome is asked for.
    """
    failure: list[Exception] = []
    waiting: deque[tuple[T, Callable[[], R]]] = deque()
    for item in _up_to_failure(items, failure):
        if pool is None or here(item):
            waiting.append((item, partial(work, item)))
        else:
            waiting.append((item, pool.submit(work, item).result))
        if len(waiting) > ahead:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()
    if failure:
        raise failure[0]


def _up_to_failure(items: Iterable[T], failure: list[Exception]) -> Iterator[T]:
    """Yield items until taking one fails, and note why it did."""
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            failure.append(error)
            return
        yield item
