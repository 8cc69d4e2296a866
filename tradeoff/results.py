"""The two kinds of result, and what the program does with each: write, draw, put into words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tradeoff import curves, drawing, limit_front, summary
from tradeoff.engine.files import CannotRead, lies, read_whole
from tradeoff.engine.trained import Trained
from tradeoff.morl import Front
from tradeoff.settings import FILE, Settings, check_result, read_settings

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

    def files_of(self, result: Result) -> tuple[str, ...]:
        """The names of what `write` writes of a result."""
        return (*self.files, *(limit_front.FILES if _has_front(result) else ()))

    def missing(self, result: Result, folder: Path) -> list[str]:
        """Which of them are not there, or do not say what the result says."""
        texts = {self.files[1]: result.table(), "indicators.json": json.dumps(result.indicators, indent=2) + "\n"}
        if _has_front(result):
            texts[limit_front.FILES[0]] = limit_front.table(result.indicators["front"])
        return [name for name in self.files_of(result) if not _says(folder / name, texts.get(name))]


def _has_front(result: Result) -> bool:
    """Whether policies that see their limits left a reward-cost front."""
    return isinstance(result, Trained) and "front" in result.indicators


def _says(path: Path, text: str | None) -> bool:
    """Whether a file can be read and, where that is known, says so."""
    try:
        found = read_whole(path)
    except CannotRead:
        return False
    return text is None or found == text.encode()


FRONT = Kind(("front.pt", "front.csv", "indicators.json", *drawing.PICTURES), Front.load, drawing.draw, summary.summary)
TRAINED = Kind(
    ("policies.pt", "scores.csv", "indicators.json", *curves.PICTURES), Trained.load, curves.draw, curves.summary
)


def kind_of(result: Result) -> Kind:
    """What can be done with a result."""
    return FRONT if isinstance(result, Front) else TRAINED


def opened(folder: Path, kind: Kind) -> tuple[Any, Settings | None]:
    """The result that lies in a folder, and the settings of its run; None for one that was saved from Python.

    Raises: TradeoffError where none lies there; CheckpointError for a damaged file; BadInput for a config.json that is
    not the one of the result.
    """
    result = kind.load(folder)
    if not lies(folder / FILE):
        return result, None
    settings = read_settings(folder)
    scores = result.indicators
    check_result(settings, result.settings, {"env": result.env, "seed": scores.get("seed")}, folder)
    return result, settings


def kind_in(folder: Path) -> Kind | None:
    """The kind of result that lies in a folder; None: no finished run."""
    return next((kind for kind in (FRONT, TRAINED) if (folder / kind.files[0]).is_file()), None)
