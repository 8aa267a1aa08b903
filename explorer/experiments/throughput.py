"""The passes of one experiment on all cores."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from explorer.machine import cores

Result = TypeVar("Result")


def on_all_cores(calls: Iterable[Callable[[], Result]], threads: int | None = None) -> Generator[Result, None, None]:
    """The result of each of `calls`, in their order.

    They run in `threads` Python threads, by default one for each core, each with one thread of torch: a pass of a small
    picture is too short to be shared, and torch's own threads wait for each other in every layer. At most `threads`
    results wait to be taken. An error of a call is raised in its place. Closing the generator starts no further call
    and waits for those that run.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise ValueError(f"the number of threads must be a whole number from 1 to 1024, received {threads}.")
    workers = threads or cores()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, "experiment", torch.set_num_threads, (1,))
    _begin()
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        _end()


_lock = threading.Lock()
_running: list[int] = []  # the number of threads before the first of the experiments that run


def _begin() -> None:
    with _lock:
        _running.append(_running[0] if _running else torch.get_num_threads())


def _end() -> None:
    """The calls set the number for threads that begin later, too: the last experiment sets it back."""
    with _lock:
        before = _running.pop()
        if not _running:
            torch.set_num_threads(before)
