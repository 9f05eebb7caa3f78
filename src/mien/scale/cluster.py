"""A Ray cluster: tasks that its processes work on, wherever there is room, and what becomes of those that die."""

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from mien.errors import MienError, MissingExtra, UsageError
from mien.runtime.ahead import cores

Task = TypeVar("Task")

_STORE = 128 * 2**20  # bytes of shared memory on a machine alone: what is sent around is names and counts
_WAITING = 2000  # tasks that the cluster knows of at once
_PATIENCE = 5.0  # seconds for a cluster to answer at all


class Died(Exception):
    """The process that worked on a task is gone: killed, out of memory, or on a machine that went away."""


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Be connected to a cluster: `address` is that of a running one (`auto` or HOST:PORT), None that in RAY_ADDRESS or
    else this machine alone.

    Nothing is reported to Ray's makers. Raises UsageError where no cluster answers, MissingExtra without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("a cluster", "cluster") from error
    joined, asked = ray.is_initialized(), address or os.environ.get("RAY_ADDRESS")
    alone = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _STORE}
    if not joined:
        try:
            _reach(asked)
            settings = {"address": asked} if asked else alone
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"no cluster answers: {str(error).splitlines()[0]}", got=asked, allowed="auto, or HOST:PORT",
                then="start one with: ray start --head; for one that asks for Ray's token, set RAY_AUTH_MODE=token",
            ) from error  # fmt: skip
    try:
        yield
    finally:
        if not joined:
            ray.shutdown()


def room() -> list[dict[str, float]]:
    """What each machine of the connected cluster has in all, such as {"CPU": 16, "GPU": 1}."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def shared_out(
    tasks: Iterable[Task], work: Callable[[Task], Any], more: list[Task], cpus: float = 1, gpus: float = 0
) -> Iterator[tuple[Task, Any]]:
    """Each task with what `work(task)` answers in a process of the connected cluster, as they end.

    Each has `cpus` cores and `gpus` accelerators of one machine while it runs. Ray tries a task again whose process
    dies; the answer is `Died` where it dies twice, and the exception where one is raised. Tasks that are put into
    `more` on the way are worked on too.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    run: Any = ray.remote(_done).options(num_cpus=cpus, num_gpus=gpus, max_retries=1)
    how, left = ray.put(work), iter(tasks)
    at: dict[Any, Any] = {run.remote(how, task): task for task in islice(left, _WAITING)}
    while at:
        (ended,), _ = ray.wait(list(at), num_returns=1)
        task = at.pop(ended)
        try:
            answer = ray.get(ended)
        except RayTaskError as error:
            answer = error.cause if isinstance(error.cause, MienError) else error
        except RayError as error:
            answer = Died(str(error).splitlines()[0])
        yield task, answer
        for following in (*more, *islice(left, 1)):
            at[run.remote(how, following)] = following
        more.clear()


def _done(work: Callable[[Any], Any], task: Any) -> Any:
    return work(task)


def _reach(address: str | None) -> None:
    """Raise OSError where nobody listens at an address: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _PATIENCE).close()
