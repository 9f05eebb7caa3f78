"""Work that runs ahead of its consumer, in a thread of its own."""

from collections.abc import Generator
from contextlib import closing
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def ahead(items: Generator[Item, Any, Any], size: int) -> Generator[Item, None, None]:
    """The items of a generator, made in a thread that stays at most `size` of them ahead.

    An exception in the generator is raised here, in its place. When this iterator is closed, so is the generator.

    >>> list(ahead((n * n for n in range(4)), size=2))
    [0, 1, 4, 9]
    """
    queue: Queue[Any] = Queue(maxsize=size)
    closed = Event()

    def work() -> None:
        ending: BaseException | None = None
        try:
            with closing(items):
                for item in items:
                    queue.put((item, None))
                    if closed.is_set():
                        break
        except BaseException as error:
            ending = error
        queue.put((_END, ending))

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        closed.set()
        while thread.is_alive():
            _drain(queue)
            thread.join(0.01)


def _drain(queue: "Queue[Any]") -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
