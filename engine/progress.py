"""A progress bar in real environment steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradeoff.engine.run import Run


@contextmanager
def bar(run: Run, visible: bool) -> Iterator[Callable[[], None]]:
    """Show steps, time left and the last score whenever called; `visible` False shows nothing."""
    if not visible:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn(), TextColumn("steps"),
        TimeRemainingColumn(), TextColumn("{task.fields[score]}"),
    )  # fmt: skip
    with Progress(*columns) as progress:
        task = progress.add_task(run.config.name, total=run.config.steps, completed=run.total, score="")

        def show() -> None:
            progress.update(task, completed=min(run.total, run.config.steps), score=run.score_line)

        yield show
