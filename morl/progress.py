"""A progress bar in real environment steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from morl.methods import FrontConfig

Show = Callable[[int, list[dict[str, Any]]], None]


@contextmanager
def bar(config: FrontConfig, start: int, visible: bool) -> Iterator[Show]:
    """Show steps, speed and the archive's hypervolume; `visible` False shows nothing."""
    if not visible:
        yield lambda steps, history: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn(), TextColumn("steps"),
        TimeRemainingColumn(), TextColumn("{task.fields[score]}"),
    )  # fmt: skip
    with Progress(*columns) as progress:
        task = progress.add_task(config.name, total=config.steps, completed=start, score="")

        def show(steps: int, history: list[dict[str, Any]]) -> None:
            score = (
                f"{history[-1]['cardinality']:.0f} points, hypervolume {history[-1]['hypervolume']:.5g}"
                if history
                else ""
            )
            progress.update(task, completed=min(steps, config.steps), score=score)

        yield show
