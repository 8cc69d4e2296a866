"""Programs that are measured in turn: A B A B, each in a process of its own, so that both meet the same weather.

Only the standard library is imported here: the peers' interpreter runs `serve` too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
REST = 0.2  # seconds between turns, until the threads of the one before have stopped spinning


def serve(work: Callable[[], float]) -> None:
    """The measured side: do `work` once per line of the input, answer with the units done and the seconds taken."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the work prints must not mix with the answers
    for _ in sys.stdin:
        began = time.perf_counter()
        units = work()
        print(json.dumps({"units": units, "seconds": time.perf_counter() - began}), file=answers, flush=True)


@dataclass
class Contestant:
    """A program that serves turns. `setting` says how it was started, for the record."""

    setting: str
    command: Sequence[str]

    def __post_init__(self) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the contestant)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(self.command, text=True, cwd=ROOT, env=clean, **pipes)

    def turn(self) -> float:
        """Units per second of one turn. Raises: RuntimeError with the last words of a program that died."""
        assert self.process.stdin and self.process.stdout
        time.sleep(REST)
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.process.wait()
            self.errors.seek(0)
            raise RuntimeError(f"{' '.join(self.command)} died:\n{self.errors.read()[-2000:]}") from None
        return float(answer["units"] / answer["seconds"])

    def close(self) -> None:
        """End the program."""
        self.process.terminate()
        self.process.communicate()
        self.errors.close()


def module(interpreter: str | Path, name: str, *arguments: object) -> list[str]:
    """The command that runs one of these modules."""
    return [str(interpreter), "-m", f"benchmarks.{name}", *map(str, arguments)]


def fastest(settings: dict[str, list[str]], trials: int = 2) -> Contestant:
    """Start a program in several settings, let each warm up and run `trials` turns, keep the fastest."""
    running = [Contestant(setting, command) for setting, command in settings.items()]
    try:
        rates = [max(c.turn() for _ in range(1 + trials)) if len(running) > 1 else c.turn() for c in running]
    except BaseException:
        for contestant in running:
            contestant.close()
        raise
    best = running[rates.index(max(rates))]
    for contestant in running:
        if contestant is not best:
            contestant.close()
    return best


def alternate(first: Contestant, second: Contestant, repetitions: int) -> tuple[list[float], list[float]]:
    """Rates of A B A B ..., both ended afterwards."""
    try:
        pairs = [(first.turn(), second.turn()) for _ in range(repetitions)]
    finally:
        first.close()
        second.close()
    return [a for a, _ in pairs], [b for _, b in pairs]
