"""Where things lie when an episode begins: rejection sampling, number for number as Safety-Gymnasium draws."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.errors import TradeoffError
from envs.navigation.tasks import Task

Place = tuple[float, float]

TRIES = 100  # per thing, before the whole layout is begun anew
FIRST = 6  # of them are looked at one by one, the others at once: most things find a place soon or never
BLOCK = 512  # numbers drawn ahead
MOST = 10_000  # layouts, and places of a new goal
JITTER = 1e-9  # half-width of the square in which things with a place of their own are drawn


class Spot(NamedTuple):
    """A rectangle to draw a place from, and the radius to keep free around it."""

    x: float
    y: float
    width: float
    height: float
    keepout: float


def spots(task: Task) -> tuple[Spot, ...]:
    """The agent's, then one per thing."""
    half = task.extent if task.agent_extent is None else task.agent_extent
    found = [_square((0.0, 0.0), half, task.agent_keepout)]
    for kind in task.kinds:
        for i in range(kind.count):
            if kind.at:
                found.append(_square(kind.at[i], kind.keepout + JITTER, kind.keepout))
            else:
                found.append(_square((0.0, 0.0), task.extent, kind.keepout))
    return tuple(found)


def _square(centre: Place, half: float, keepout: float) -> Spot:
    (x, y), (left, low) = centre, [c - half + keepout for c in centre]
    return Spot(left, low, x + half - keepout - left, y + half - keepout - low, keepout)


def free(place: Place, keepout: float, others: Sequence[Place], theirs: Sequence[Spot]) -> bool:
    """Whether a place is far enough from all others."""
    x, y = place
    for (a, b), spot in zip(others, theirs, strict=False):
        dx, dy = x - a, y - b
        if sqrt(dx * dx + dy * dy) < spot.keepout + keepout:
            return False
    return True


class Ahead:
    """Uniform numbers of a generator, drawn ahead; `settle` leaves it where the numbers that were taken end."""

    def __init__(self, numbers: np.random.Generator) -> None:
        self.numbers, self.state = numbers, numbers.bit_generator.state
        self.drawn, self.at, self.dropped = numbers.random(BLOCK), 0, 0

    def next(self, count: int) -> NDArray[Any]:
        """The next numbers, none of them taken yet."""
        if self.at + count > len(self.drawn):
            self.drawn = np.concatenate([self.drawn[self.at :], self.numbers.random(BLOCK)])
            self.dropped, self.at = self.dropped + self.at, 0
        return self.drawn[self.at : self.at + count]

    def settle(self) -> None:
        """To be called once, in the end."""
        self.numbers.bit_generator.state = self.state
        self.numbers.random(self.dropped + self.at)


def _find(spot: Spot, found: Sequence[Place], wanted: Sequence[Spot], ahead: Ahead) -> Place | None:
    """The first free one of TRIES places."""
    drawn = ahead.next(2 * TRIES)
    few = drawn[: 2 * FIRST].tolist()
    for k in range(0, 2 * FIRST, 2):
        place = spot.x + spot.width * few[k], spot.y + spot.height * few[k + 1]
        if free(place, spot.keepout, found, wanted):
            ahead.at += k + 2
            return place
    x, y = spot.x + spot.width * drawn[2 * FIRST :: 2], spot.y + spot.height * drawn[2 * FIRST + 1 :: 2]
    others, keepouts = np.array(found).T[..., None], [[other.keepout] for other in wanted[: len(found)]]
    dx, dy = x - others[0], y - others[1]
    good = ~(np.sqrt(dx * dx + dy * dy) < np.array(keepouts) + spot.keepout).any(0)
    k = int(good.argmax())
    ahead.at += 2 * (FIRST + k + 1) if good[k] else 2 * TRIES
    return (float(x[k]), float(y[k])) if good[k] else None


def _attempt(wanted: Sequence[Spot], ahead: Ahead) -> list[Place] | None:
    found: list[Place] = []
    for spot in wanted:
        place = _find(spot, found, wanted, ahead)
        if place is None:
            return None
        found.append(place)
    return found


def draw_layout(wanted: Sequence[Spot], numbers: np.random.Generator) -> list[Place]:
    """One place per spot, none within another's keepout.

    Raises: TradeoffError when 10,000 layouts fail: the arena is too small for what is in it.
    """
    ahead = Ahead(numbers)
    for _ in range(MOST):
        found = _attempt(wanted, ahead)
        if found is not None:
            ahead.settle()
            return found
    raise TradeoffError(f"{len(wanted)} things do not fit into the arena; use fewer, or smaller keepouts")


def draw_goal(
    goal: Spot, others: Sequence[Place], theirs: Sequence[Spot], numbers: np.random.Generator
) -> Place | None:
    """A new place for the goal among the other things, or None when 10,000 draws find no room."""
    draw = numbers.random
    for _ in range(MOST):
        x = goal.x + goal.width * draw()
        place = x, goal.y + goal.height * draw()
        if free(place, goal.keepout, others, theirs):
            return place
    return None


def legacy_generator(seed: int) -> np.random.Generator:
    """The stream of numpy.random.RandomState(seed modulo 2^32), from which the original draws."""
    bits = np.random.MT19937()
    bits.state = np.random.RandomState(seed % 2**32).get_state(legacy=False)  # type: ignore[assignment]
    return np.random.Generator(bits)
