"""The lowest and highest sum that an episode can have, as its environment says, and limits beside that range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from tradeoff.envs import VectorEnv
from tradeoff.envs.finite import FiniteEnv
from tradeoff.safe.constraints import BadLimit, Constraint

Range = tuple[float, float]


class Known(NamedTuple):
    """A range and who says so."""

    range: Range
    source: str


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


def limits_that_steer_nothing(env: VectorEnv, given: Sequence[Constraint], discount: float) -> list[str]:
    """A sentence for every limit on sums per episode that no episode can break.

    Raises: BadLimit for a limit that every episode breaks.
    """
    channels = (*env.spec.objectives, *env.spec.costs)
    told = []
    for c in given:
        if c.scale not in ("episodic", "discounted"):
            continue
        known = known_range(env, channels.index(c.cost), 1.0 if c.scale == "episodic" else discount)
        if known is None:
            continue
        sign = 1.0 if c.sense == "<=" else -1.0
        best, worst = sorted(sign * x for x in known.range)
        here = f"{c.cost} lies between {known.range[0]:g} and {known.range[1]:g} in every episode ({known.source})"
        if all(best > sign * limit for limit in c.limits):
            raise BadLimit(
                f"no policy of {env.spec.id} keeps {c.written}: {here}; give a limit within it{_from_below(c, env)}"
            )
        if all(worst <= sign * limit for limit in c.limits):
            told.append(f"no policy of {env.spec.id} breaks {c.written}: {here}, so the limit steers nothing"
                        f"{_from_below(c, env)}")  # fmt: skip
    return told


def _from_below(c: Constraint, env: VectorEnv) -> str:
    """What to say of an upper limit on an objective: mostly the sense is what is wrong."""
    return (
        f"; `{c.cost}>=number` bounds a reward from below" if c.cost in env.spec.objectives and c.sense == "<=" else ""
    )
