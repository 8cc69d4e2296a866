"""A number that knows how sure it is."""

from __future__ import annotations

from typing import NamedTuple


class Estimate(NamedTuple):
    """A value with its confidence interval; an exact value has low == value == high."""

    value: float
    low: float
    high: float
    method: str  # how it was found: "exact", "monte-carlo", "bootstrap"

    def __float__(self) -> float:
        return self.value
