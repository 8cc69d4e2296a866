"""The two kinds of result, and what the program does with each: write, draw, put into words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tradeoff import curves, drawing, summary
from tradeoff.engine.trained import Trained
from tradeoff.morl import Front

Result = Front | Trained


class Kind(NamedTuple):
    """A kind of result."""

    files: tuple[str, ...]  # that a finished run holds, the one that says so first
    load: Callable[[Path], Any]
    draw: Callable[[Any, Path, int | None], list[Path]]
    summary: Callable[[Any, Path], str]

    def write(self, result: Any, folder: Path, horizon: int | None) -> None:
        """Everything that a finished run holds."""
        result.save(folder)
        self.draw(result, folder, horizon)


FRONT = Kind(("front.pt", "front.csv", "indicators.json", *drawing.PICTURES), Front.load, drawing.draw, summary.summary)
TRAINED = Kind(
    ("policies.pt", "scores.csv", "indicators.json", *curves.PICTURES), Trained.load, curves.draw, curves.summary
)


def kind_of(result: Result) -> Kind:
    """What can be done with a result."""
    return FRONT if isinstance(result, Front) else TRAINED


def kind_in(folder: Path) -> Kind | None:
    """The kind of result that lies in a folder; None: no finished run."""
    return next((kind for kind in (FRONT, TRAINED) if (folder / kind.files[0]).is_file()), None)
