"""The best policy of a finite problem within limits on its channels, by a linear program over occupancies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tradeoff.evaluation.checks import Array, Mask, as_vector
from tradeoff.evaluation.exact import best_policy, channel_sums, occupancy, policy_from_occupancy, transient_visits
from tradeoff.evaluation.finite import FiniteProblem, NoConvergence
from tradeoff.evaluation.flows import Flows, flows, least_cost, power_of_two
from tradeoff.evaluation.mixtures import best_mixture
from tradeoff.evaluation.rational import best_average, needs_fractions


class Limit(NamedTuple):
    """The return of a channel is to stay at or below (or, with ">=", at or above) a bound."""

    channel: int
    bound: float  # in the units of the return: a discounted sum, a sum over the horizon, or an average per step
    side: Literal["<=", ">="] = "<="


class InfeasibleLimits(ValueError):
    """No policy keeps all limits. `attainable` [k]: what each limit's channel can reach when it alone counts."""

    def __init__(self, message: str, attainable: Array) -> None:
        super().__init__(message)
        self.attainable = attainable

    def __reduce__(self) -> tuple[Any, ...]:
        """Whole, so that it comes back from other processes."""
        return type(self), (str(self), self.attainable)


class ConstrainedOptimum(NamedTuple):
    """A best policy within k limits."""

    value: float  # weights . returns of the policy below, exact
    returns: Array  # [m] of every channel
    multipliers: Array  # [k] price of each limit, >= 0: what the value gains per unit of relief
    policy: Array  # [S, A], or [H, S, A] with a horizon
    occupancy: Array  # of the same shape
    randomised: Mask  # [S], or [H, S]: states that are visited and in which the policy draws its action

    @property
    def stochastic(self) -> bool:
        """Whether some visited state draws its action; a deterministic policy may then miss value or limits."""
        return bool(self.randomised.any())


def constrained_optimum(
    problem: FiniteProblem,
    weights: ArrayLike,
    limits: Sequence[Limit | tuple[Any, ...]],
    *,
    horizon: int | None = None,
    average: bool = False,
) -> ConstrainedOptimum:
    """Maximise weights . returns over all policies that keep the limits; exact, with the prices of the limits.

    weights: [m], 0 for a channel that is only limited. limits: `Limit`s or tuples (channel, bound) of the channels'
    returns. horizon, average: as in `evaluation.exact.occupancy`. Without a horizon the policy randomises in at most as
    many states as there are limits that bind.

    Raises: InfeasibleLimits, naming what each channel can reach; NoConvergence if the value has no bound;
    NoStationaryOptimum for an average that no stationary policy attains; ValueError for a limit that is none.
    Source: Altman 1999, Constrained Markov Decision Processes, chapters 3 and 4.
    """
    wanted = as_vector(weights, problem.reward.shape[2], "weights")
    known = _checked(limits, problem.reward.shape[2])
    return _solve(flows(problem, horizon=horizon, average=average), wanted, known)


def constrained_front(
    problem: FiniteProblem,
    weights: ArrayLike,
    limits: Sequence[Limit | tuple[Any, ...]],
    bounds: ArrayLike | int = 11,
    *,
    horizon: int | None = None,
    average: bool = False,
) -> tuple[Array, list[ConstrainedOptimum]]:
    """Best policies for a sweep of the first limit's bound, the other limits held: the reward-cost front.

    bounds: [n] the values to try, or how many, evenly from the strictest that can be kept to the one that no longer
    binds; the bound written in `limits` is not read. Returns the bounds [n] and an optimum for each; arguments and
    errors as in `constrained_optimum`, and ValueError for no limit.
    """
    space = flows(problem, horizon=horizon, average=average)
    wanted = as_vector(weights, problem.reward.shape[2], "weights")
    if not limits:
        raise ValueError("limits holds none; give the one whose bound is swept first, then those that are held")
    first, *rest = _checked(limits, problem.reward.shape[2])
    if isinstance(bounds, int):
        free = _solve(space, wanted, rest).returns[first.channel]
        bounds = np.linspace(_tightest(space, first, rest), free, bounds)
    sweep = np.asarray(bounds, dtype=np.float64)
    return sweep, [_solve(space, wanted, [first._replace(bound=float(bound)), *rest]) for bound in sweep]


def _solve(space: Flows, weights: Array, limits: list[Limit]) -> ConstrainedOptimum:
    """The optimum, found with every channel in a unit of its own, so that the solvers' tolerances mean the same."""
    units = power_of_two(np.abs(space.reward).max(axis=0, initial=0.0))
    unit = power_of_two(np.abs(weights * units).max(initial=0.0))
    scaled = replace(
        space, reward=space.reward / units, problem=replace(space.problem, reward=space.problem.reward / units)
    )
    rows, bounds = _rows(limits, len(weights))
    priced = [units[limit.channel] for limit in limits]
    mixes = space.horizon or (space.average and needs_fractions(space.problem))
    solve = _best_mixture if mixes else _best_flow
    found = solve(scaled, weights * units / unit, rows, bounds / priced)
    if found is None:
        raise _infeasible(space, limits)
    policy, taken, prices = found
    returns = channel_sums(space.problem, taken)
    drawn = (taken.sum(axis=-1) > 1e-9) & (policy.max(axis=-1) < 1.0 - 1e-7)
    return ConstrainedOptimum(float(returns @ weights), returns, prices * unit / priced, policy, taken, drawn)


def _best_flow(space: Flows, weights: Array, rows: Array, bounds: Array) -> tuple[Array, Array, Array] | None:
    """Policy, occupancy and prices by the linear program over flows; None if no flow keeps rows . returns <= bounds."""
    result = least_cost(space, -space.reward @ weights, rows @ space.reward.T, bounds)
    if result.status == 2:
        return None
    return *space.exact_occupancy(result.x), np.maximum(-result.duals[len(space.source) :], 0.0)


def _best_mixture(space: Flows, weights: Array, rows: Array, bounds: Array) -> tuple[Array, Array, Array] | None:
    """The same by mixing single policies: over a horizon, or for the average of a problem with rare transitions."""
    problem, horizon, average = space.problem, space.horizon, space.average
    mixture = best_mixture(
        lambda gain: best_average(problem, gain) if average else best_policy(problem, gain, horizon=horizon),
        lambda policy: occupancy(problem, policy, horizon=horizon, average=average),
        weights,
        rows,
        bounds,
    )
    if mixture is None:
        return None
    if not average:
        return policy_from_occupancy(mixture.occupancy), mixture.occupancy, mixture.prices
    carry = sum(share * transient_visits(problem, policy) for share, policy in mixture.parts)
    return *space.attained(mixture.occupancy, np.asarray(carry)), mixture.prices


def _rows(limits: list[Limit], channels: int) -> tuple[Array, Array]:
    """Every limit as a row [m] and a bound with `row . returns <= bound`."""
    signs = np.array([_sign(limit) for limit in limits])
    rows = np.eye(channels)[[limit.channel for limit in limits]]
    return signs[:, None] * rows, signs * np.array([limit.bound for limit in limits])


def _sign(limit: Limit) -> float:
    return 1.0 if limit.side == "<=" else -1.0


def _tightest(space: Flows, limit: Limit, rest: list[Limit]) -> float:
    """The strictest bound of a limit that some policy keeps together with the rest."""
    channel = np.eye(space.problem.reward.shape[2])[limit.channel]
    return float(_solve(space, -_sign(limit) * channel, rest).returns[limit.channel])


def _infeasible(space: Flows, limits: list[Limit]) -> InfeasibleLimits | NoConvergence:
    if not limits:
        return NoConvergence(
            "no policy ends every episode, so no sum has a limit; give a horizon or a discount below 1"
        )
    reach = np.array([_tightest(space, limit, []) for limit in limits])
    wide = [
        f"channel {limit.channel} {limit.side} {limit.bound:g} ({'least' if limit.side == '<=' else 'most'} attainable "
        f"value {value:.6g})"
        for limit, value in zip(limits, reach, strict=True)
    ]
    slack = 1e-9 * np.abs(space.reward).max(axis=0)[[limit.channel for limit in limits]]
    signs, bounds = np.array([_sign(limit) for limit in limits]), np.array([limit.bound for limit in limits])
    alone = signs * (reach - bounds) <= slack
    why = "each alone can be kept, not all at once" if alone.all() else "relax what lies beyond its attainable value"
    return InfeasibleLimits(f"no policy keeps the limits {'; '.join(wide)}: {why}", reach)


def _checked(limits: Sequence[Limit | tuple[Any, ...]], channels: int) -> list[Limit]:
    known = [Limit(*limit) for limit in limits]
    for limit in known:
        if limit.channel not in range(channels):
            raise ValueError(f"limit on channel {limit.channel}; the problem has channels 0 to {channels - 1}")
        if limit.side not in ("<=", ">=") or not np.isfinite(limit.bound):
            raise ValueError(f"limit {limit.side!r} {limit.bound}; expected '<=' or '>=' and a finite bound")
    return known
