"""What every number of a config must be, asked in one place, when the config is born."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

LARGEST = 2**53  # whole numbers beyond are not exact in JSON readers and in double precision
SMALLEST = 2.0**-126  # positive numbers below vanish in single precision
UNBOUNDED = {"unbounded": True}
"""Metadata of a field in which an infinite number stands for no bound."""


def check_numbers(config: Any) -> None:
    """Look through the fields of a dataclass, nested settings and tuples included.

    Raises: ValueError for NaN, for infinity where a field is not UNBOUNDED, for whole numbers beyond LARGEST.
    """
    for f in fields(config):
        _check(f.name, getattr(config, f.name), bool(f.metadata.get("unbounded")))


def _check(name: str, value: Any, unbounded: bool) -> None:
    if isinstance(value, tuple | list):
        for x in value:
            _check(name, x, unbounded)
    elif is_dataclass(value):
        check_numbers(value)
    elif isinstance(value, float) and not isfinite(value) and (value != value or not unbounded):
        raise ValueError(f"{name} must be a finite number, got {value}")
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:,} in size, got {shown(value)}")


def shown(number: int) -> str:
    """A whole number, or how long it is."""
    digits = len(str(abs(number)))
    return f"{number:,}" if digits < 25 else f"one of {digits} digits"


def check_weights(weights: Sequence[float]) -> None:
    """Raise ValueError unless weights of objectives are finite, >= 0, and one of them is above 0."""
    if not weights or not all(0 <= x < float("inf") for x in weights) or max(weights) < SMALLEST:
        raise ValueError(
            f"weights must be finite numbers >= 0, one of them above {SMALLEST:.2g}, got {', '.join(map(str, weights))}"
        )
