"""A Ray cluster: tasks that its processes work on, wherever there is room, and what becomes of those that die."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from typing import Any, TypeVar

from mien import __version__
from mien.errors import MienError, MissingExtra, RunError, UsageError
from mien.runtime.ahead import cores

Task = TypeVar("Task")

_STORE = 128 * 2**20  # bytes of shared memory on a machine alone: what is sent around is names and counts
_WAITING = 2000  # tasks that the cluster knows of at once
_PATIENCE = 5.0  # seconds for a cluster to answer at all
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Started by `uv run`, Ray would copy the working folder, pictures and all, to every machine and leave it there.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # Without a bound a task for which the memory does not suffice is begun again for ever.
    "RAY_task_oom_retries": "1",
    # What fails is told by mien, once; Ray would print every traceback beside it.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}


class Died(Exception):
    """The process that worked on a task is gone: killed, out of memory, or on a machine that went away."""


class Unfit(RunError):
    """A machine of the cluster that can do no task: it lacks files, or has another mien."""

    def __init__(self, why: str, *, got: object = None, allowed: object = None, then: str | None = None) -> None:
        super().__init__(
            f"{socket.gethostname()}, a machine of the cluster, {why}", got=got, allowed=allowed, then=then
        )


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Be connected to a cluster: `address` is that of a running one (`auto` or HOST:PORT), None that in RAY_ADDRESS or
    else this machine alone.

    Nothing is reported to Ray's makers, and what Ray prints goes to stderr. Raises UsageError where no cluster answers,
    MissingExtra without Ray.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
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
        with redirect_stdout(sys.stderr):
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
    `more` on the way are worked on too. Raises RunError where a machine cannot run mien, Unfit where it has another.
    """
    import ray
    from ray.exceptions import RayError, RaySystemError, RayTaskError

    run: Any = ray.remote(_done).options(num_cpus=cpus, num_gpus=gpus, max_retries=1)
    how, left = ray.put((__version__, work)), iter(tasks)
    at: dict[Any, Any] = {run.remote(how, task): task for task in islice(left, _WAITING)}
    while at:
        (ended,), _ = ray.wait(list(at), num_returns=1)
        task = at.pop(ended)
        try:
            answer = ray.get(ended)
        except RayTaskError as error:
            if isinstance(error.cause, RaySystemError | ImportError):
                raise RunError(
                    "a machine of the cluster cannot run mien", got=str(error).strip().splitlines()[-1],
                    then=f"install mien {__version__}, with the same extras, for the Ray of every machine",
                ) from error  # fmt: skip
            answer = error.cause if isinstance(error.cause, MienError) else error
        except RayError as error:
            answer = Died(str(error).splitlines()[0])
        if isinstance(answer, Unfit):
            raise answer
        yield task, answer
        for following in (*more, *islice(left, 1)):
            at[run.remote(how, following)] = following
        more.clear()


def _done(how: tuple[str, Callable[[Any], Any]], task: Any) -> Any:
    version, work = how
    if version != __version__:
        raise Unfit("has another mien", got=__version__, allowed=version, then="install the same on every machine")
    return work(task)


def _reach(address: str | None) -> None:
    """Raise OSError where nobody listens at an address: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), _PATIENCE).close()
