"""metrics.csv and TensorBoard events: one row per iteration, the same bytes whether or not a run was interrupted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TextIO

from tradeoff.engine.files import write_atomically

BASE = ("steps", "iteration", "policies", "objective")
FILE = "metrics.csv"


class Metrics:
    """Called with the numbers of every iteration. Rows that a resumed run repeats replace the old ones."""

    def __init__(self, folder: Path, columns: tuple[str, ...], events: bool = True) -> None:
        """columns: what evaluations add. events: also write TensorBoard events, where its package is installed."""
        self.folder, self.file, self.events = folder, None, events
        self.columns = BASE + columns
        self.writer: Any = None

    file: TextIO | None

    def __call__(self, row: dict[str, Any]) -> None:
        """Append one row; indicators are empty between evaluations."""
        if self.file is None:
            self._open(row["iteration"], row["steps"])
        assert self.file is not None
        self.file.write(",".join(_cell(row.get(name)) for name in self.columns) + "\n")
        self.file.flush()
        if set(row) - set(BASE):  # evaluated: a checkpoint follows, which must not outlive these rows
            os.fsync(self.file.fileno())
        if self.writer is not None:
            for name in set(self.columns[2:]) & set(row):
                self.writer.add_scalar(name, row[name], row["steps"])

    def _open(self, iteration: int, steps: int) -> None:
        path = self.folder / FILE
        kept = _rows_before(path, iteration, len(self.columns))
        write_atomically(path, (",".join(self.columns) + "\n" + "".join(kept)).encode())
        self.file = path.open("a")
        if self.events and has_tensorboard():
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=steps)

    def close(self) -> None:
        """Close both files."""
        if self.file is not None:
            self.file.close()
        if self.writer is not None:
            self.writer.close()


def has_tensorboard() -> bool:
    """Whether the optional package that writes events is installed."""
    from importlib.util import find_spec

    return find_spec("tensorboard") is not None


def _cell(value: Any) -> str:
    return "" if value is None else repr(value)


def _rows_before(path: Path, iteration: int, columns: int) -> list[str]:
    """Whole rows of an earlier iteration; a row that a crash cut short is none."""
    lines = path.read_text().splitlines(keepends=True)[1:] if path.is_file() else []
    whole = [x for x in lines if x.count(",") == columns - 1]
    return [x for x in whole if int(x.split(",")[1]) < iteration]
