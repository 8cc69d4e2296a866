"""Options of the commands that draw beside what they find: those of `tradeoff.options`, and formats of the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tradeoff import options

Formats = tuple[Literal["png", "pdf", "svg"], ...]


@dataclass(frozen=True, kw_only=True)
class Safety(options.Safety):
    """Bound, from fresh episodes, the share of episodes that break a run's limits, and what episodes cost."""

    format: Formats = ("png",)  # of the picture; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Diagnose(options.Diagnose):
    """Play fresh episodes of a run's policies and say whether a larger batch, a baseline or memory would help."""

    format: Formats = ("png",)  # of the picture; several give a file of each


@dataclass(frozen=True, kw_only=True)
class Benchmark(options.Benchmark):
    """Compare methods on a suite of tasks with limits. Runs that are finished are not trained again."""

    format: Formats = ("png",)  # of the pictures; several give a file of each
