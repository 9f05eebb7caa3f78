"""Progress of long work on stderr, with the time left: bars on a terminal, a line now and then in a file."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.stages import Stages

FIRST, LONGEST = 10.0, 60.0
"""Seconds until the first line of a stage in a log, and at most between two: each wait is twice the one before."""


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, total) that moves a bar named `what`, which goes away at the end; elsewhere prints lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield in_lines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stages() -> "Iterator[Stages]":
    """A bar for every stage that reports progress, which stays as a line at its end; off a terminal, lines alone."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield in_lines
        return
    width = min(44, shutil.get_terminal_size().columns // 2)
    columns = (
        TextColumn("{task.description}"), BarColumn(width // 2), TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, redirect_stdout=False) as bars:

        def stage(name: str) -> Any:
            task: TaskID | None = None
            over = False

            def progress(done: int, total: int) -> None:
                nonlocal task, over
                if over:
                    return
                if task is None:
                    task = bars.add_task(name.ljust(width), total=total)
                bars.update(task, completed=done, total=total)
                if over := done >= total:
                    # Above the bars that move: of more bars than a terminal has rows, the last would not be seen.
                    bars.print(bars.make_tasks_table([each for each in bars.tasks if each.id == task]))
                    bars.remove_task(task)

            return progress

        yield stage


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Name on a terminal what is waited for, in a line that goes away at the end."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def loading() -> AbstractContextManager[None]:
    """The wait for the training libraries, whose imports take seconds."""
    return waiting("loading the training libraries")


def in_lines(name: str, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """A function of (done, total) that prints a line on stderr now and then, and one at the end."""
    begun: tuple[float, int] | None = None
    told, wait, over = clock(), FIRST, False

    def progress(done: int, total: int) -> None:
        nonlocal begun, told, wait, over
        now = clock()
        # Work that goes on after a kill does not begin at nothing.
        begun = begun or (now, done)
        if over or (done < total and now - told < wait):
            return
        told, wait, over = now, min(2 * wait, LONGEST), done >= total
        taken, moved = now - begun[0], done - begun[1]
        left = _clock(taken * (total - done) / moved) if moved else "unknown time"
        text = f"done in {_clock(taken)}" if over else f"{done / total:.0%}, {left} left"
        print(f"{name}: {text}", file=sys.stderr, flush=True)  # noqa: T201

    return progress


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
