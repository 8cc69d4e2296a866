"""The lowest and highest cost that an episode can have: as a user says, or as an environment's own description does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from tradeoff.envs import VectorEnv
from tradeoff.envs.errors import UnknownName
from tradeoff.envs.finite import FiniteEnv
from tradeoff.errors import BadInput

Range = tuple[float, float]


class Known(NamedTuple):
    """A range and who says so."""

    range: Range
    source: str


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


def known_range(env: VectorEnv, channel: int, discount: float) -> Known | None:
    """The range of a channel's discounted sums per episode; None where nothing is known.

    channel: among objectives, then costs. Exact where the environment is finite; else from the dearest step.
    """
    spec, cost = env.spec, channel - len(env.spec.objectives)
    if type(env) is FiniteEnv and spec.horizon is not None:
        return Known(_extremes(env, channel, spec.horizon, discount), "the finite model")
    if not 0 <= cost < len(spec.ceilings):  # a wrapper may have added costs of which it says nothing
        return None
    steps = _steps(spec.horizon, discount)
    if math.isinf(steps):
        return None
    return Known(
        (0.0, spec.ceilings[cost] * steps),
        f"at most {spec.ceilings[cost]:g} in each of {spec.horizon or 'endless'} steps",
    )


def _steps(horizon: int | None, discount: float) -> float:
    """Discounted steps of the longest episode."""
    if discount == 1.0:
        return math.inf if horizon is None else float(horizon)
    return (1.0 if horizon is None else 1.0 - discount**horizon) / (1.0 - discount)


def _extremes(env: FiniteEnv, channel: int, horizon: int, discount: float) -> Range:
    """Backward induction over the best and the worst that actions and chance can do, both choosing freely."""
    below = env.below
    first, last = below.new_zeros(len(below), 1), below.new_full((len(below), 1), torch.inf)
    possible = torch.cat([first, below], 1) < torch.cat([below, last], 1)  # some branches only fill the table
    by_state = (-1, env.actions * env.branches)
    paid = torch.cat([env.reward, env.cost], 1)[:, channel].double().unflatten(0, by_state)
    then, possible = env.successor.unflatten(0, by_state), possible.flatten().unflatten(0, by_state)
    low = high = paid.new_zeros(len(paid))
    for _ in range(horizon):
        low = torch.where(possible, paid + discount * low[then], torch.inf).amin(1).masked_fill(env.terminal, 0.0)
        high = torch.where(possible, paid + discount * high[then], -torch.inf).amax(1).masked_fill(env.terminal, 0.0)
    return float(low[env.first].min()), float(high[env.first].max())


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
