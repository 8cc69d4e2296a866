"""What is printed reaches whoever reads, and whoever stops reading or knows ASCII alone breaks nothing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tradeoff.cli import main
from tradeoff.output import Output


class Gone(io.StringIO):
    """A pipe whose reader has left after so many writes."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def write(self, text: str) -> int:
        """Fail as a pipe does."""
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_reader_that_leaves_ends_nothing(after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Gone(after)
    monkeypatch.setattr(sys, "stdout", pipe)
    assert main(["methods"]) == 0
    assert sys.stdout is pipe, "the stream is put back"


@pytest.mark.parametrize("words", [["methods"], ["train", "cal", "--help"], ["envs", "treasure"], ["--help"]])
def test_an_ascii_terminal_gets_tables_in_ascii(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(words) == 0
    shown.flush()
    text = shown.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert len(text) > 200 and "?" * 3 not in text


def test_frames_become_ascii_and_letters_a_question_mark() -> None:
    inner: Any = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    out = Output(inner)
    assert out.write("┏━┓│é│└─┘") == 9
    out.flush()
    assert inner.buffer.getvalue() == b"+-+|?|+-+"


def test_output_into_head_ends_quietly() -> None:
    house = Path(__file__).parents[2]
    line = f"set -o pipefail; {sys.executable} -m tradeoff --help | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=house, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: tradeoff COMMAND")
