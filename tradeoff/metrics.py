"""metrics.csv and TensorBoard events: one row per iteration, the same bytes whether or not a run was interrupted."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from tradeoff.engine.files import CannotRead, read_whole, write_atomically

BASE = ("steps", "iteration", "policies", "objective")
FILE = "metrics.csv"


class Metrics:
    """Called with the numbers of every iteration. Rows that a resumed run repeats replace the old ones."""

    def __init__(
        self, folder: Path, columns: tuple[str, ...], events: bool = True, expected: dict[str, Any] | None = None
    ) -> None:
        """columns: what evaluations add. events: also write TensorBoard events, where its package is installed.

        expected: what `stamp` said when the checkpoint was written that the run goes on from; None: nothing is known.
        """
        self.folder, self.file, self.events, self.expected = folder, None, events, expected
        self.columns = BASE + columns
        self.written = hashlib.sha256()
        self.size = 0
        self.writer: Any = None

    file: BinaryIO | None

    def __call__(self, row: dict[str, Any]) -> None:
        """Append one row; indicators are empty between evaluations."""
        if self.file is None:
            self._open(row["iteration"], row["steps"])
        assert self.file is not None
        self.file.write(self._noted((",".join(_cell(row.get(name)) for name in self.columns) + "\n").encode()))
        self.file.flush()
        if set(row) - set(BASE):  # evaluated: a checkpoint follows, which must not outlive these rows
            os.fsync(self.file.fileno())
        if self.writer is not None:
            for name in set(self.columns[2:]) & set(row):
                self.writer.add_scalar(name, row[name], row["steps"])

    def _noted(self, content: bytes) -> bytes:
        self.written.update(content)
        self.size += len(content)
        return content

    def _open(self, iteration: int, steps: int) -> None:
        path = self.folder / FILE
        head = (",".join(self.columns) + "\n").encode()
        write_atomically(path, self._noted(self._kept(path, head, iteration)))
        self.file = path.open("ab")
        if self.events and has_tensorboard():
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder), purge_step=steps)

    def _kept(self, path: Path, head: bytes, iteration: int) -> bytes:
        """Header and rows of earlier iterations: the bytes that a checkpoint vouches for, or what is left of them."""
        try:
            found = read_whole(path)
        except CannotRead:
            found = b""
        if self.expected is not None:
            sure = found[: self.expected["bytes"]]
            if hashlib.sha256(sure).hexdigest() == self.expected["sha256"]:
                return sure
        rows = _rows_before(found, iteration, len(self.columns))
        if self.expected is not None:
            warnings.warn(f"{path} was altered or damaged; {len(rows)} of its rows are kept as they are", stacklevel=2)
        return head + b"".join(rows)

    def stamp(self) -> dict[str, Any] | None:
        """Length and SHA-256 of what has been written, for a checkpoint; None: nothing yet."""
        return {"bytes": self.size, "sha256": self.written.hexdigest()} if self.size else self.expected

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


def _rows_before(content: bytes, iteration: int, columns: int) -> list[bytes]:
    """Whole rows of an earlier iteration; a row that a crash cut short is none, nor one that holds no numbers."""
    rows = [(line, line.strip().split(b",")) for line in content.splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    whole = [(line, cells) for line, cells in rows if len(cells) == columns and all(map(_is_number, cells))]
    return [line for line, cells in whole if cells[1].isdigit() and int(cells[1][:18]) < iteration]


def _is_number(cell: bytes) -> bool:
    try:
        return not cell or float(cell) is not None
    except ValueError:
        return False
