"""A Ray cluster: processes on its machines that work on tasks, each replaced when it dies."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mien.errors import MienError, MissingExtra, RunError, UsageError
from mien.runtime.ahead import cores

Task = TypeVar("Task")
_STORE = 128 * 2**20  # bytes of shared memory on a machine alone: what is sent around is names and counts


class Died(Exception):
    """The process that worked on a task is gone: killed, out of memory, or on a machine that went away."""


@contextmanager
def connected(address: str | None = None) -> Iterator[dict[str, float]]:
    """What a cluster has, such as {"CPU": 64, "GPU": 4}, while connected to it.

    `address` is that of a running cluster (`auto`, HOST:PORT, ray://HOST:PORT), None that in RAY_ADDRESS or else this
    machine alone. Nothing is reported to Ray's makers. Raises UsageError where no cluster answers, MissingExtra
    without Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("a cluster", "cluster") from error
    joined = ray.is_initialized()
    if not joined:
        here = address is None and "RAY_ADDRESS" not in os.environ
        alone = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": _STORE}
        settings = alone if here else {"address": address}
        try:
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"no cluster answers: {str(error).splitlines()[0]}", got=address or os.environ.get("RAY_ADDRESS"),
                then="start one with: ray start --head",
            ) from error  # fmt: skip
    try:
        yield dict(ray.cluster_resources())
    finally:
        if not joined:
            ray.shutdown()


def shared_out(
    tasks: "deque[Task]", make: Callable[[], Callable[[Task], Any]], workers: int, cpus: float = 1, gpus: float = 0
) -> Iterator[tuple[Task, Any]]:
    """Each task with what a worker answers to it, as they end; needs a connection.

    `make()` gives a worker its function, in its own process, before its first task; each holds `cpus` cores and `gpus`
    accelerators. Of a worker that died the answer is `Died`, of one that failed the exception; either way another goes
    on with the next task. Tasks may be added on the way. Raises RunError where a worker cannot begin at all.
    """
    import ray
    from ray.exceptions import RayActorError, RayError, RayTaskError

    start: Any = ray.remote(_Worker).options(num_cpus=cpus, num_gpus=gpus).remote
    free: list[Any] = [start(make) for _ in range(min(workers, len(tasks)))]
    at: dict[Any, tuple[Any, Any]] = {}
    try:
        # One that cannot even begin would look like one that every task kills.
        ray.get([worker.ready.remote() for worker in free[:1]])
    except RayError as error:
        raise RunError(
            f"a machine of the cluster cannot work: {str(error).splitlines()[0]}",
            then="install the same mien there, with the same extras",
        ) from error  # fmt: skip
    try:
        while tasks or at:
            while tasks and free:
                worker, task = free.pop(), tasks.popleft()
                at[worker.work.remote(task)] = worker, task
            (ended,), _ = ray.wait(list(at), num_returns=1)
            worker, task = at.pop(ended)
            try:
                answer = ray.get(ended)
            except RayActorError as error:
                worker, answer = start(make), Died(str(error).splitlines()[0])
            except RayTaskError as error:
                answer = error.cause if isinstance(error.cause, MienError) else error
            free.append(worker)
            yield task, answer
    finally:
        for worker in (*free, *(worker for worker, _ in at.values())):
            ray.kill(worker)


class _Worker:
    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._function: Callable[[Any], Any] | None = None

    def ready(self) -> None:
        """Answer, as a process does that could begin."""

    def work(self, task: Any) -> Any:
        # Made here and not above: what goes wrong in it is then the answer to a task.
        if self._function is None:
            self._function = self._make()
        return self._function(task)
