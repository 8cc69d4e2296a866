"""Where things lie when an episode begins: rejection sampling, number for number as Safety-Gymnasium draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from math import inf, nextafter, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradeoff.envs.errors import TradeoffError
from tradeoff.envs.navigation.tasks import Task

Array = NDArray[Any]
Place = tuple[float, float]
Other = tuple[float, float, float]  # a place, and the least square of distances to it

TRIES = 100  # per thing, before the whole layout is begun anew
FIRST = 6  # of them are looked at one by one, the others at once: most things find a place soon or never
WINDOW = 200  # pairs looked at at once: what things of one kind need together, most often
SLACK = 1e-9  # [m^2] more than a sum of products is off by; what is nearer to the edge is looked at again, exactly
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


@cache
def least_square(keepout: float) -> float:
    """The least number whose root is no less than `keepout`: comparing squares decides as comparing roots does."""
    square = keepout * keepout * (1 - 1e-15)
    while sqrt(square) < keepout:
        square = nextafter(square, inf)
    return square


def free(x: float, y: float, others: Iterable[Other]) -> bool:
    """Whether a place is far enough from all others, given with the least squares of distances to them."""
    for a, b, least in others:
        dx, dy = x - a, y - b
        if dx * dx + dy * dy < least:
            return False
    return True


class Group(NamedTuple):
    """Things with the same spot that are placed one after another."""

    spot: Spot
    things: int  # how many
    apart: float  # least square of distances between them
    away: tuple[float, ...]  # the same for all things that are placed before


@cache
def _groups(wanted: tuple[Spot, ...]) -> tuple[Group, ...]:
    found: list[Group] = []
    i = 0
    for spot, same in groupby(wanted):
        count, away = len(list(same)), tuple(least_square(other.keepout + spot.keepout) for other in wanted[:i])
        found.append(Group(spot, count, least_square(spot.keepout + spot.keepout), away))
        i += count
    return tuple(found)


class Ahead:
    """Pairs of uniform numbers, drawn ahead of a generator; `settle` leaves it where the pairs that were taken end."""

    def __init__(self, numbers: np.random.Generator) -> None:
        self.numbers, self.state = numbers, numbers.bit_generator.state
        self.drawn = np.empty((0, 2))
        self.at, self.last, self.dropped = 0, 0, 0  # the next pair, where to give up, how many are no longer held
        self.tables: dict[int, Array] = {}

    def hold(self, count: int) -> None:
        """Have that many pairs at hand."""
        if self.at + count > len(self.drawn):
            self.drawn = np.concatenate([self.drawn[self.at :], self.numbers.random((count, 2))])
            self.at, self.dropped, self.tables = 0, self.dropped + self.at, {}

    def table(self, number: int, spot: Spot) -> Array:
        """The pairs as places in the spot of a group [4, pairs]: x, y, x^2 + y^2, 1."""
        if number not in self.tables:
            x, y = spot.x + spot.width * self.drawn[:, 0], spot.y + spot.height * self.drawn[:, 1]
            self.tables[number] = np.stack([x, y, x * x + y * y, np.ones(len(x))])
        return self.tables[number]

    def settle(self) -> None:
        """To be called once, in the end."""
        self.numbers.bit_generator.state = self.state
        self.numbers.random(2 * (self.dropped + self.at))


def _hopeful(table: Array, others: Sequence[Other], first: int, ahead: Ahead) -> Iterator[tuple[int, float, float]]:
    """Free places among the pairs from `first`, each after the pair that follows; ends where the search gives up."""
    rows = np.array([(-2 * a, -2 * b, 1.0, a * a + b * b - least) for a, b, least in others]).reshape(-1, 4)
    while first < ahead.last:
        gaps = np.minimum.reduce(rows @ table[:, first : first + WINDOW], initial=inf)
        few = (gaps > -SLACK).nonzero()[0]
        for k, gap in zip((few + first).tolist(), gaps[few].tolist(), strict=True):
            if k >= ahead.last:
                return
            x, y = table[:2, k].tolist()
            if gap > SLACK or free(x, y, others):
                yield k + 1, x, y
        first += WINDOW


def _place(number: int, group: Group, found: list[Place], ahead: Ahead) -> bool:
    """Place the things of a group; False when one of them is not free in TRIES places."""
    (left, low, width, height, _), count, apart, away = group
    near = [(a, b, least) for (a, b), least in zip(found, away, strict=True)]
    late: list[Other] = []  # of the group, placed since `hopeful` began
    hopeful: Iterator[tuple[int, float, float]] | None = None
    for _ in range(count):
        first, ahead.last = ahead.at, ahead.at + TRIES
        if hopeful is None:
            for u, v in ahead.drawn[first : first + FIRST].tolist():
                x, y, first = left + width * u, low + height * v, first + 1
                if free(x, y, near):
                    break
            else:
                hopeful = _hopeful(ahead.table(number, group.spot), near, first, ahead)
        if hopeful is not None:
            for after, x, y in hopeful:
                if free(x, y, late):
                    first = after
                    break
            else:
                ahead.at = ahead.last
                return False
            late.append((x, y, apart))
        ahead.at = first
        near.append((x, y, apart))
        found.append((x, y))
    return True


def _attempt(groups: Sequence[Group], ahead: Ahead) -> list[Place] | None:
    found: list[Place] = []
    for number, group in enumerate(groups):
        if not _place(number, group, found, ahead):
            return None
    return found


def draw_layout(wanted: Sequence[Spot], numbers: np.random.Generator) -> list[Place]:
    """One place per spot, none within another's keepout.

    Raises: TradeoffError when 10,000 layouts fail: the arena is too small for what is in it.
    """
    ahead, groups = Ahead(numbers), _groups(tuple(wanted))
    for _ in range(MOST):
        ahead.hold(TRIES * len(wanted))
        found = _attempt(groups, ahead)
        if found is not None:
            ahead.settle()
            return found
    raise no_room(len(wanted))


def no_room(things: int) -> TradeoffError:
    """What to raise where so many things find no places."""
    return TradeoffError(f"{things} things do not fit into the arena; use fewer, or smaller keepouts")


def draw_goal(
    goal: Spot, others: Sequence[Place], theirs: Sequence[Spot], numbers: np.random.Generator
) -> Place | None:
    """A new place for the goal among the other things, or None when 10,000 draws find no room."""
    near = [(a, b, least_square(spot.keepout + goal.keepout)) for (a, b), spot in zip(others, theirs, strict=True)]
    draw = numbers.random
    for _ in range(MOST):
        x = goal.x + goal.width * draw()
        y = goal.y + goal.height * draw()
        if free(x, y, near):
            return x, y
    return None


def legacy_generator(seed: int) -> np.random.Generator:
    """The stream of numpy.random.RandomState(seed modulo 2^32), from which the original draws."""
    bits = np.random.MT19937()
    bits.state = np.random.RandomState(seed % 2**32).get_state(legacy=False)  # type: ignore[assignment]
    return np.random.Generator(bits)
