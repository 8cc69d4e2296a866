"""What methods there are, read from a table beside this file: help and refusals need not load them.

`python -m tradeoff.method_table` writes it anew after a method was added or described otherwise; a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput
from tradeoff.words import ours

if TYPE_CHECKING:
    from rich.table import Table

FILE = Path(__file__).with_name("methods.tsv")


class Row(NamedTuple):
    """A method."""

    name: str
    result: str  # front or policies
    what: str  # it does, in a line


def rows() -> list[Row]:
    """The table as it was written."""
    return [Row(*line.split("\t")) for line in FILE.read_text().splitlines()]


def true_rows() -> list[Row]:
    """The same, asked of the methods themselves."""
    from tradeoff.morl import FrontConfig
    from tradeoff.registry import METHODS

    return [
        Row(
            name, "front" if issubclass(kind, FrontConfig) else "policies", (kind.__doc__ or "").strip().splitlines()[0]
        )
        for name, kind in METHODS.items()
    ]


def write() -> None:
    """Bring the table up to date."""
    FILE.write_text("".join("\t".join(row) + "\n" for row in true_rows()))


def table() -> Table:
    """The methods for a person."""
    from rich.table import Table
    from rich.text import Text

    shown = Table("method", "what it does", "result", title="methods; docs/methods.md leads to a page for each")
    for row in rows():
        shown.add_row(*(Text(cell) for cell in (row.name, row.what, row.result)))
    return shown


def check_words(words: Sequence[str]) -> None:
    """Raise UnknownName or BadInput for words after `train` that name no method, or an option as others call it."""
    names = [row.name for row in rows()]
    if not words:
        raise BadInput(f"train needs a method: {', '.join(names)}; `tradeoff methods` says what they are")
    if words[0] not in (*names, "-h", "--help"):
        raise UnknownName("method", words[0], names, "`tradeoff methods` lists them")
    if said := ours(words[1:]):
        raise BadInput(f"{said}; `tradeoff train {words[0]} --help` lists the options")


if __name__ == "__main__":
    write()
