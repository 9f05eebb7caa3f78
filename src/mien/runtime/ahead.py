"""Work that runs ahead of its consumer, in threads of its own."""

import atexit
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import closing
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()
_PATIENCE = 10.0  # seconds that the end of the process waits for a thread: a camera may never answer
_running: dict[Thread, Callable[[], None]] = {}  # the threads of `ahead`, and what tells each to end


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(futures: Iterable[Future[Result]], ahead: int) -> Generator[Result, None, None]:
    """The results of futures in their order, each as soon as it is there; no more than `ahead` are asked for before.

    `futures` submits each when it is asked for it. What has not begun when this iterator is closed is cancelled.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(in_order((pool.submit(abs, number) for number in (-3, 1, -2)), ahead=2))
    [3, 1, 2]
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for future in futures:
            waiting.append(future)
            while waiting and (len(waiting) >= ahead or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def ahead(items: Generator[Item, Any, Any], size: int) -> Generator[Item, None, None]:
    """The items of a generator, made in a thread that stays at most `size` of them ahead.

    An exception in the generator is raised here, in its place. When this iterator is closed, so is the generator.

    >>> list(ahead((n * n for n in range(4)), size=2))
    [0, 1, 4, 9]
    """
    made: SimpleQueue[Any] = SimpleQueue()
    room = Semaphore(size)
    closed = Event()

    def work() -> None:
        ending: BaseException | None = None
        try:
            with closing(items):
                for item in items:
                    made.put((item, None))
                    room.acquire()
                    if closed.is_set():
                        break
        except BaseException as error:
            ending = error
        made.put((_END, ending))

    def end() -> None:
        closed.set()
        room.release()

    thread = Thread(target=work, daemon=True)
    thread.start()
    _running[thread] = end
    try:
        while True:
            item, error = made.get()
            room.release()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        end()
        thread.join()
        del _running[thread]


@atexit.register
def _end_all() -> None:
    """End the threads whose iterators are still open: the interpreter must not vanish under their native code."""
    running = dict(_running)
    # Each is told before one is waited for, as one may wait for another.
    for end in running.values():
        end()
    for thread in running:
        thread.join(_PATIENCE)
