"""Standard output that goes on where its reader has gone, as `head` does, or knows no letters beyond ASCII."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

FRAMES = dict.fromkeys(range(9472, 9600), "+")  # the box-drawing characters of tables and help
FRAMES |= dict.fromkeys(map(ord, "─━═╌╴╶╸╺"), "-") | dict.fromkeys(map(ord, "│┃║╎╵╷"), "|")


class Output:
    """A text stream for whatever is printed; it never fails because of who reads it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.lost = False  # whether the reader has gone

    def write(self, text: str) -> int:
        """Write what can be shown; other characters as their nearest or as "?"."""
        with self._lossy():
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                known = self.stream.encoding or "ascii"
                self.stream.write(text.translate(FRAMES).encode(known, "replace").decode(known))
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody is there to read."""
        with self._lossy():
            self.stream.flush()

    @contextlib.contextmanager
    def _lossy(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            if self.lost:
                return
            self.lost = True
            with contextlib.suppress(OSError, ValueError, AttributeError):  # what is buffered must not fail at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def forgiving_output() -> Iterator[None]:
    """Let everything that is printed inside go through `Output`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Output(before[0]), Output(before[1])
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
