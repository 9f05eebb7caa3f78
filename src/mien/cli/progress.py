"""Progress of long work as a bar on stderr, with the time left."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.experiment import Stages


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar named `what`; the bar goes away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages() -> "Iterator[Stages]":
    """A bar on stderr for every stage that reports progress; the finished ones stay as one line each."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    width = min(44, shutil.get_terminal_size().columns // 2)
    columns = (
        TextColumn("{task.description}"), BarColumn(width // 2), TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bars:
        tasks: dict[str, TaskID] = {}

        def stage(name: str) -> Any:
            def progress(done: int, total: int) -> None:
                if name not in tasks:
                    tasks[name] = bars.add_task(name.ljust(width), total=total)
                bars.update(tasks[name], completed=done, total=total)

            return progress

        yield stage
