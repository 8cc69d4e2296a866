"""The lowest and highest cost that an episode can have, as a user says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tradeoff.envs.errors import UnknownName
from tradeoff.errors import BadInput
from tradeoff.safe.known_ranges import Known, Range


def given_ranges(texts: Sequence[str], channels: Sequence[str]) -> dict[str, Known]:
    """Ranges from `name=number`, between 0 and that number, or `name=lowest:highest`.

    Raises: BadInput, UnknownName.
    """
    found = {}
    for text in texts:
        name, equals, numbers = text.partition("=")
        if not equals:
            raise _unreadable(text)
        if name.strip() not in channels:
            raise UnknownName("cost", name.strip(), channels)
        found[name.strip()] = Known(_range(numbers, text), "--ceiling")
    return found


def _range(numbers: str, text: str) -> Range:
    try:
        ends = [float(x) for x in numbers.split(":")]
    except ValueError:
        raise _unreadable(text) from None
    low, high = ends if len(ends) == 2 else (min(0.0, ends[0]), max(0.0, ends[0]))
    if len(ends) > 2 or not math.isfinite(high - low) or not low < high:
        raise _unreadable(text)
    return low, high


def _unreadable(text: str) -> BadInput:
    return BadInput(f"--ceiling {text} is no range; write name=number (between 0 and it) or name=lowest:highest")
