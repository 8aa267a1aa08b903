"""Slots for heavy work, given in the order of asking."""

import threading
from collections import deque


class Slots:
    """At most `count` threads are inside at once. The others wait in the order in which they came: a context manager.

    With a semaphore a thread that leaves and comes again at once, as work by steps does, is back before those who wait
    have woken: a step of 50 ms then kept others waiting for seconds.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @property
    def free(self) -> int:
        """How many would get one at once."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many threads wait."""
        return len(self._waiting)

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            turn.wait()
        except BaseException:  # such as Ctrl-C in the main thread
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._give_back()
            raise

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._give_back()

    def _give_back(self) -> None:
        """To the one that has waited longest; a slot is free only where none waits."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1
