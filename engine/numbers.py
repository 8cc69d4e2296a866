"""What every number of a config must be, asked in one place, when the config is born."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from math import inf, isfinite
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

LARGEST = 2**53  # whole numbers beyond are not exact in JSON readers and in double precision
SMALLEST = 2.0**-126  # smaller numbers vanish in single precision
UNBOUNDED = {"unbounded": True}
"""Metadata of a field in which an infinite number stands for no bound."""


@dataclass(frozen=True)
class Range:
    """Numbers from `least` on, or above it; of tuples every entry, of which there is one at least."""

    least: float
    above: bool = False

    def __contains__(self, x: float) -> bool:
        return x > self.least if self.above else x >= self.least

    def __str__(self) -> str:
        if self.above:
            return "positive" if self.least == 0 else f"above {self.least:g}"
        return f"at least {self.least:g}"


Positive = Annotated[float, Range(0, above=True)]
NotNegative = Annotated[float, Range(0)]
Count = Annotated[int, Range(1)]
Layers = Annotated[tuple[int, ...], Range(1)]  # units per hidden layer


def check_numbers(config: Any) -> None:
    """Look through the fields of a dataclass, nested settings and tuples included.

    Raises: ValueError for NaN, for infinity where a field is not UNBOUNDED, for what vanishes in single precision, for
    whole numbers beyond LARGEST, and for what lies outside the `Range` of a field's type.
    """
    kind: Any = type(config)
    known = _ranges(kind)
    for f in fields(config):
        _check(f.name, getattr(config, f.name), known.get(f.name), bool(f.metadata.get("unbounded")))


def _check(name: str, value: Any, within: Range | None, unbounded: bool) -> None:
    if isinstance(value, tuple | list):
        if within and not value:
            raise ValueError(f"{name} must hold one number at least, got none")
        for x in value:
            _check(name, x, within, unbounded)
    elif is_dataclass(value):
        check_numbers(value)
    elif isinstance(value, float) and not (unbounded and abs(value) == inf):
        if not isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")
        if 0 < abs(value) < SMALLEST:
            raise ValueError(f"{name} must be 0 or {SMALLEST:.2g} in size at least, got {value}")
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:,} in size, got {shown(value)}")
    if within and isinstance(value, int | float) and value not in within:
        raise ValueError(f"{name} must be {within}, got {value}")


@lru_cache
def _ranges(kind: Any) -> dict[str, Range]:
    """Ranges by field, those of a union's parts included."""
    found: dict[str, Range] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        parts = [hint, *get_args(hint)] if get_origin(hint) in (Union, UnionType) else [hint]
        marks = [mark for part in parts if get_origin(part) is Annotated for mark in part.__metadata__]
        within = [mark for mark in marks if isinstance(mark, Range)]
        if within:
            found[name] = within[0]
    return found


def shown(number: int) -> str:
    """A whole number, or how long it is."""
    digits = len(str(abs(number)))
    return f"{number:,}" if digits < 25 else f"one of {digits} digits"


def check_weights(weights: Sequence[float]) -> None:
    """Raise ValueError unless weights of objectives are finite, >= 0, and one of them is above 0."""
    if not weights or not all(0 <= x < inf for x in weights) or max(weights) < SMALLEST:
        raise ValueError(
            f"weights must be finite numbers >= 0, one of them above 0, got {', '.join(map(str, weights)) or 'none'}"
        )
